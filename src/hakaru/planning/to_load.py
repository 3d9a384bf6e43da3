"""Before a model is loaded: the verdict of `fit` for the memory that is free now. What does not fit
is not loaded.
"""

from typing import Final

from hakaru.engine.mode import Mode
from hakaru.engine.unused import idle_gpu
from hakaru.errors import DoesNotFit
from hakaru.memory.settings import ContextSettings
from hakaru.models.model import Model
from hakaru.planning.answer import Fit
from hakaru.planning.dry_run import RememberedDryRuns
from hakaru.planning.fit_at import fit_at
from hakaru.planning.here import leaves_gpu_idle, within
from hakaru.planning.sentences import verdict_sentence
from hakaru.planning.ways_out import in_words
from hakaru.planning.with_speculation import beside_for, checking
from hakaru.servers import beside_servers
from hakaru.session import Session
from hakaru.units import compared, size_in_bytes

ALONE: Final = Mode()
"""A model by itself."""


class NothingLoaded(DoesNotFit):
    """A model was not loaded, since it does not fit; `fit` is the answer that says so."""

    def __init__(self, fit: Fit) -> None:
        share = fit.placement.fullest
        needed, free = compared(share.needed_bytes, share.device.usable_bytes)
        super().__init__(
            "{path}: needs {needed} with {n_ctx:,} tokens of context for {n} conversations, but "
            "{free} may be used; nothing was loaded: {ways}.",
            path=fit.model.path,
            needed=needed,
            n_ctx=fit.settings.n_ctx,
            n=fit.settings.n_parallel,
            free=free,
            ways=in_words(fit.alternatives),
        )
        self.fit = fit


def fit_to_load(
    model: Model,
    settings: ContextSettings,
    session: Session,
    *,
    mode: Mode = ALONE,
    memory: str | int | None = None,
    warns_of_idle_gpu: bool = False,
) -> Fit:
    """The answer for a model that is about to be loaded here. A note tells where memory is tight.

    What `mode` loads beside the model takes memory, too; the layers that it names for accelerators
    go there. `memory` is the part of the free
    memory that may be used (see `here.within`). With
    `warns_of_idle_gpu` a GPU that the engine cannot use is told, too. Raises NothingLoaded for what
    does not fit.
    """
    machine = beside_servers(session.machine_now(), model.parts)
    if memory is not None:
        machine = within(machine, size_in_bytes(memory))
    answer = fit_at(
        model,
        checking(settings, mode.speculation),
        machine=machine,
        ledger=session.ledger,
        engine=session.lab
        if machine.devices
        else RememberedDryRuns(engine=session.lab, ledger=session.ledger),
        beside=beside_for(model, mode, machine),
        n_gpu_layers=mode.named_gpu_layers,
    )
    if warns_of_idle_gpu and answer.dry_run and leaves_gpu_idle(machine, answer.dry_run):
        session.warn(idle_gpu(machine))
    if answer.verdict == "does_not_fit":
        raise NothingLoaded(answer)
    if answer.verdict == "tight":
        session.note(verdict_sentence(answer.placement, answer.margin.fraction))
    return answer
