"""The server of a measurement: started only where the verdict of `fit` allows it."""

from collections.abc import Sequence
from typing import Final

from msgspec.structs import replace

from hakaru.engine.mode import Mode
from hakaru.engine.promises import Promise, hold, layers_promise
from hakaru.engine.server import EngineServer
from hakaru.language import say
from hakaru.memory.settings import ContextSettings
from hakaru.models.model import Model
from hakaru.planning.answer import Fit
from hakaru.planning.fit_at import fit_at
from hakaru.planning.to_load import NothingLoaded
from hakaru.planning.with_speculation import beside_for, checking
from hakaru.session import Session

NEAR: Final = 0.02
NEAR_BYTES: Final = 4 * 2**20
"""How far an accelerator's weights and cache may be from the plan: the log has two digits of MiB
for each of several buffers. Layers on another device are a larger part of any model.
"""


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
        beside=beside_for(model, mode, session.machine),
        n_gpu_layers=mode.named_gpu_layers,
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


def as_served(fit: Fit, mode: Mode) -> Mode:
    """`mode` for a server that gives a first answer before it is used (`engine.first_answer`): on
    processors that answer reads every weight of a dense model, as llama.cpp's warm-up would. It
    does not touch all experts, a draft, a projector, or what an accelerator sets up.
    """
    laid = laid_out(fit, mode)
    is_plain = not (mode.speculation or mode.projector or mode.rpc or fit.model.shape.n_expert)
    is_warm_by_itself = is_plain and mode.gives == "text" and not fit.placement.layout.counts
    return replace(laid, warms_up=False) if is_warm_by_itself else laid


def check_laid_out(server: EngineServer, fit: Fit) -> None:
    """Raises EngineRefused if the layers of a loaded model do not lie where `fit` put them."""
    layout = fit.placement.layout
    if layout.n_gpu_layers:
        hold(layers_promise(server, layout.n_gpu_layers), server)
    lying = server.log.lying_bytes()
    if server.mode.speculation or any(device.endswith("_Mapped") for device in lying):
        return  # a draft's buffers stand among the model's; a mapped file counts as a whole
    planned = [s.weights_bytes + s.kv_cache_bytes for s in fit.placement.shares if s.weights_bytes]
    found = list(lying.values())
    is_near = len(found) == len(planned) and all(
        abs(one - other) <= NEAR * other + NEAR_BYTES
        for one, other in zip(found, planned, strict=True)
    )
    if not is_near:
        what = say("bytes of weights and KV cache on each accelerator")
        way_on = say(
            "this is a fault of the plan or of the engine; see what the plan was: hakaru fit"
        )
        hold(Promise(what, _listed(planned), _listed(found), way_on), server)


def _listed(sizes: Sequence[int]) -> str:
    return " + ".join(f"{size:,}" for size in sizes) or "0"
