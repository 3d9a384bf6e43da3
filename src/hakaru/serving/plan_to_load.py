"""The plan by which a model is loaded."""

from functools import partial

from msgspec.structs import replace

from hakaru.engine.mode import Mode
from hakaru.language import say
from hakaru.memory.settings import ContextSettings
from hakaru.models.model import Model
from hakaru.planning.answer import Fit
from hakaru.planning.to_load import NothingLoaded, fit_to_load
from hakaru.session import Session


def plan_to_load(
    model: Model,
    settings: ContextSettings,
    mode: Mode,
    session: Session,
    *,
    memory: str | int | None = None,
    warns_of_idle_gpu: bool = False,
    is_alone: bool = True,
) -> tuple[Fit, Mode]:
    """The plan by which the model is loaded, and how it is run: without guesses ahead, of which a
    note tells, where what guesses does not fit beside the model and no person named it. Prompts
    are kept in RAM where it `is_alone`: others would need that memory. Raises NothingLoaded.
    """
    settings = replace(settings, keeps_prompts=is_alone and mode.gives == "text")
    plan = partial(
        fit_to_load, model, settings, session, memory=memory, warns_of_idle_gpu=warns_of_idle_gpu
    )
    if mode.speculation and not mode.must_guess:
        try:
            return plan(mode=mode), mode
        except NothingLoaded:
            session.note(
                say("What guesses tokens ahead does not fit beside the model now: it is left out.")
            )
        mode = replace(mode, speculation=None)
    return plan(mode=mode), mode
