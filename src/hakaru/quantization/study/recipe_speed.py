"""How fast a recipe decodes here: measured through the server, or from the machine's pace."""

from collections.abc import Mapping
from typing import Any, Final

from hakaru.engine.builds import server_build
from hakaru.evaluation.pace import TypeSpeeds, fit_paces, fit_speeds
from hakaru.evaluation.timing import Timing
from hakaru.formats.imatrix import Imatrix
from hakaru.memory.settings import ContextSettings
from hakaru.planning.timed_here import timed_files
from hakaru.quantization.probes import Errors
from hakaru.quantization.study.recipe_file import trial_file
from hakaru.quantization.study.study import Study, imatrix_digest
from hakaru.units import Figure

REPEATS: Final = 3
SOON_TIMED_BYTES: Final = 2**30
"""A source of at most so many bytes is timed at a glance if no model was timed before."""
SOON_TIMED_CONTEXT: Final = 512


def recipe_speed(
    study: Study, types: Mapping[str, str], imatrix: Imatrix | None, settings: ContextSettings
) -> Figure:
    """Decoded tokens per second of a recipe, through the server that will serve it. The recipe's
    file is written for that, mostly from kept tensors, and removed.
    """
    session = study.session
    inputs = {
        "model": study.sha256, "types": dict(types), "imatrix": imatrix_digest(imatrix),
        "machine": session.machine.fingerprint, "engine": server_build(),
        "settings": settings.as_json(),
    }  # fmt: skip
    is_contended = False

    def timed() -> dict[str, Any]:
        nonlocal is_contended
        with trial_file(study, types, imatrix) as model:
            speed = Timing(session=session).trial(model, settings, repeats=REPEATS).speed
        study.others = study.others.or_worse(speed.others)
        is_contended = speed.is_contended
        return speed.decode_tokens_per_s.as_json()

    return Figure.from_json(
        session.ledger.remembered(
            "speed of a recipe", inputs, timed, keeps=lambda _: not is_contended
        )
    )


def measured_type_speeds(
    study: Study, errors: Errors, imatrix: Imatrix | None, settings: ContextSettings
) -> TypeSpeeds:
    """Seconds per byte of every type, from the speeds of the runs and of the source. Each is served
    and timed.
    """
    runs = study.choices.run_recipes(errors, study.sampling.runs)
    recipes = [*runs.values(), study.choices.own_types]
    speeds = [recipe_speed(study, types, imatrix, settings).value for types in recipes]
    return fit_speeds(study.tensors, study.model.shape, recipes, speeds)


def machine_pace(study: Study) -> TypeSpeeds | None:
    """Seconds per byte of every type, from all models that were timed on this machine. If none was,
    the source is timed, or None returned where it is large.
    """
    session, soon = study.session, ContextSettings(n_ctx=SOON_TIMED_CONTEXT)
    paces = timed_files(session.ledger, session.machine)
    if not paces and study.model.weights_bytes <= SOON_TIMED_BYTES:
        Timing(session=session).trial(study.model, soon, repeats=1)
        paces = timed_files(session.ledger, session.machine)
    return fit_paces(paces) if paces else None
