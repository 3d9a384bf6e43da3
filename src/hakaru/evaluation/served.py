"""The server of a measurement: started only where the verdict of `fit` allows it."""

from dataclasses import replace

from hakaru.engine.mode import Mode
from hakaru.engine.server import EngineServer
from hakaru.errors import DoesNotFit
from hakaru.memory.settings import ContextSettings
from hakaru.models.model import Model
from hakaru.planning.fit import Fit, fit
from hakaru.planning.ways_out import in_words
from hakaru.session import Session
from hakaru.units import compared


def served(
    session: Session, model: Model, settings: ContextSettings, mode: Mode | None = None
) -> EngineServer:
    """A server process that loads `model`; what was predicted for it is remembered. Raises
    DoesNotFit before anything is loaded.
    """
    answer = fit(
        model, settings, machine=session.machine, ledger=session.ledger, engine=session.lab
    )
    if answer.verdict == "does_not_fit":
        share = answer.placement.fullest
        needed, free = compared(share.needed_bytes, share.device.usable_bytes)
        raise DoesNotFit(
            "{path}: needs {needed} with {n_ctx} tokens of context for {n} conversations, but "
            "{free} may be used; nothing was "
            "loaded: {ways}.",
            path=model.path,
            needed=needed,
            n_ctx=settings.n_ctx,
            n=settings.n_parallel,
            free=free,
            ways=in_words(answer.alternatives),
        )
    return EngineServer(model.path, answer.settings, laid_out(answer, mode or Mode()))


def laid_out(fit: Fit, mode: Mode) -> Mode:
    """`mode` with the layout that `fit` promises, where llama.cpp would not arrive at it by
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
