"""The memory of a server that guesses tokens ahead or sees: what drafts, the logits of its guesses,
and the projector.
"""

from msgspec.structs import replace

from hakaru.engine.mode import Mode
from hakaru.engine.speculation import Speculation
from hakaru.hardware.machine import Machine
from hakaru.memory.settings import ContextSettings
from hakaru.models.model import Model, read_language_model
from hakaru.planning.backends import backend_of
from hakaru.planning.extras import Beside, Extra, draft_extra, mtp_extra, projector_extra


def checking(settings: ContextSettings, speculation: Speculation | None) -> ContextSettings:
    """The settings of a server that checks its guesses, each of which gets logits."""
    if speculation is None:
        return settings
    return replace(settings, n_outputs_max=speculation.n_outputs(settings))


def beside_for(model: Model, mode: Mode, machine: Machine) -> Beside:
    """What `mode` loads beside `model`. Raises ModelError for a draft or a projector that cannot be
    read; the result raises Misuse for a draft of another vocabulary.
    """
    eyes = (projector_extra(mode.projector),) if mode.projector else ()
    speculation = mode.speculation
    if speculation is None:
        return lambda settings: eyes
    backend = backend_of(machine.devices[0]) if machine.devices else "cpu"
    draft = read_language_model(speculation.draft) if speculation.draft else None

    def beside(settings: ContextSettings) -> tuple[Extra, ...]:
        rows_bytes = (
            4 * model.shape.n_vocab * (speculation.n_outputs(settings) - settings.n_parallel)
        )
        one = replace(settings, n_outputs_max=None)
        if draft:
            extra = draft_extra(model, draft, one, backend=backend)
        elif speculation.means == "mtp":
            extra = mtp_extra(model, one, backend=backend, n_draft=speculation.n_max)
        else:
            extra = Extra(name="n-gram", weights_bytes=0, compute_bytes=0, source="computed")
        return (*eyes, replace(extra, host_bytes=extra.host_bytes + rows_bytes))

    return beside
