"""How fast a recipe decodes here: measured through the server, or from the machine's pace."""

from collections.abc import Mapping
from typing import Final

from hakaru.engine.builds import server_build
from hakaru.evaluation.pace import TypeSpeeds, fit_paces, fit_speeds
from hakaru.evaluation.timing import Timing, known_paces
from hakaru.formats.imatrix import Imatrix
from hakaru.memory.settings import ContextSettings
from hakaru.quantization.probes import Errors
from hakaru.quantization.study.recipe_file import trial_file
from hakaru.quantization.study.study import Study, imatrix_digest
from hakaru.units import Figure

REPEATS: Final = 3
SOON_TIMED_BYTES: Final = 2**30
"""A source of at most so many bytes is timed at a glance, where nothing was timed before."""
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
    known = session.ledger.recall("speed of a recipe", inputs)
    if known is None:
        with trial_file(study, types, imatrix) as model:
            speed = Timing(session=session).trial(model, settings, repeats=REPEATS).speed
        known = speed.decode_tokens_per_s.as_json()
        study.others = study.others.or_worse(speed.others)
        if not speed.is_contended:
            session.ledger.remember("speed of a recipe", inputs, known)
    return Figure.from_json(known)


def measured_type_speeds(
    study: Study, errors: Errors, imatrix: Imatrix | None, settings: ContextSettings
) -> TypeSpeeds:
    """Seconds per byte of the types of the runs and of the source's own, each run served and timed,
    and the source like one.
    """
    runs = study.choices.run_recipes(errors, study.sampling.runs)
    recipes = [*runs.values(), study.choices.own_types]
    speeds = [recipe_speed(study, types, imatrix, settings).value for types in recipes]
    return fit_speeds(study.tensors, study.model.shape, recipes, speeds)


def machine_pace(study: Study) -> TypeSpeeds | None:
    """Seconds per byte of the types, from what was timed on this machine. Before anything was, the
    source is timed, if it is small; else None.
    """
    session, soon = study.session, ContextSettings(n_ctx=SOON_TIMED_CONTEXT)
    paces = known_paces(session)
    if not paces and study.model.weights_bytes <= SOON_TIMED_BYTES:
        Timing(session=session).trial(study.model, soon, repeats=1)
        paces = known_paces(session)
    return fit_paces(paces) if paces else None
