"""The server of a measurement: started only where the verdict of `fit` allows it."""

from dataclasses import replace

from hakaru.engine.mode import Mode
from hakaru.engine.server import EngineServer
from hakaru.memory.settings import ContextSettings
from hakaru.models.model import Model
from hakaru.planning.answer import Fit
from hakaru.planning.fit_at import fit_at
from hakaru.planning.to_load import NothingLoaded
from hakaru.planning.with_speculation import beside_for, checking
from hakaru.session import Session


def served(
    session: Session, model: Model, settings: ContextSettings, mode: Mode | None = None
) -> EngineServer:
    """A server process that loads `model`. The ledger remembers the prediction of `fit`. Raises
    NothingLoaded before anything is loaded.
    """
    answer = planned(session, model, settings, mode := mode or Mode())
    if answer.verdict == "does_not_fit":
        raise NothingLoaded(answer)
    return EngineServer(model.path, answer.settings, laid_out(answer, mode))


def planned(session: Session, model: Model, settings: ContextSettings, mode: Mode) -> Fit:
    """The plan of `served`, with the memory of what guesses ahead."""
    return fit_at(
        model,
        checking(settings, mode.speculation),
        machine=session.machine,
        ledger=session.ledger,
        engine=session.lab,
        beside=beside_for(model, mode.speculation, session.machine),
    )


def laid_out(fit: Fit, mode: Mode) -> Mode:
    """`mode` with the layout that `fit` promises, unless llama.cpp would choose the same layout by
    itself.
    """
    layout = fit.placement.layout
    if not layout.counts or (
        layout.default_split
        and not layout.n_cpu_moe
        and layout.n_gpu_layers == fit.placement.n_items
    ):
        return mode
    split = layout.counts if len(layout.counts) > 1 and not layout.default_split else ()
    return replace(
        mode, n_gpu_layers=layout.n_gpu_layers, tensor_split=split, n_cpu_moe=layout.n_cpu_moe
    )
