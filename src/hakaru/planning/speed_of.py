"""The speed of a model where it was placed. Pure."""

from collections.abc import Sequence
from typing import Final

from msgspec.structs import replace

from hakaru.errors import Misuse
from hakaru.hardware.machine import Hardware
from hakaru.language import say
from hakaru.memory.settings import ContextSettings
from hakaru.models.model import Model
from hakaru.planning.answer import Fit
from hakaru.planning.backends import backend_named
from hakaru.planning.machine_speed import machine_speed, narrowed
from hakaru.planning.shares import Placement
from hakaru.planning.speed import USUAL, predict_speed
from hakaru.planning.speed_figures import Sample, SpeedPrediction
from hakaru.planning.timed_file import TimedFile
from hakaru.planning.token_work import item_works, whole_work

MOST_DEPTH: Final = 2**24


def speed_of(
    fit: Fit,
    depth: int = 0,
    files: Sequence[TimedFile] = (),
    *,
    users: int = 1,
    sample: Sample = USUAL,
) -> SpeedPrediction:
    """How fast the model of an answer will be behind `depth` tokens of context, for each of `users`
    at the same time. `files` are those that were timed on this machine; none for a machine that is
    only named. Raises Misuse.
    """
    if not 0 <= depth <= MOST_DEPTH:
        raise Misuse(
            "`depth` is {found}, expected a whole number from 0 to {high}.",
            found=depth,
            high=MOST_DEPTH,
        )
    if fit.verdict == "does_not_fit":
        reason = say("it does not fit")
        return SpeedPrediction(
            depth=depth, users=users, why_no_decode=reason, why_no_prefill=reason
        )
    dry_run = fit.dry_run.accelerators if fit.dry_run and not fit.hardware.text else ()
    return placed_speed(
        fit.model,
        fit.settings,
        fit.hardware,
        fit.placement,
        depth=depth,
        files=files,
        users=users,
        sample=sample,
        engine_name=dry_run[0].name if dry_run else "",
    )


def placed_speed(
    model: Model,
    settings: ContextSettings,
    hardware: Hardware,
    placement: Placement,
    *,
    depth: int = 0,
    files: Sequence[TimedFile] = (),
    users: int = 1,
    sample: Sample = USUAL,
    engine_name: str = "",
) -> SpeedPrediction:
    """How fast a model will be under a placement, for each of `users` at the same time.
    `engine_name` is the engine's own name of the first accelerator, such as Vulkan0; empty where
    it was not asked.
    """
    items = item_works(model.loaded, model.shape, type_k=settings.type_k, type_v=settings.type_v)
    prediction = predict_speed(
        items,
        hardware,
        placement.layout,
        depth=depth,
        n_ubatch=settings.n_ubatch,
        users=users,
        sample=sample,
        backend=backend_named(engine_name),
    )
    if model.shape.caches is None and depth:
        reason = say("what its layers keep of the context is not known")
        prediction = replace(
            prediction, decode=None, prefill=None, why_no_decode=reason, why_no_prefill=reason
        )
    machine = machine_speed(files)
    if machine is None:
        return prediction
    return narrowed(prediction, machine, whole_work(items), sample=sample)
