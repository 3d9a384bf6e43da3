"""The exact answer beside the article's formula: a known model of that size, its real type, real devices.

"Does 70B at 16 bits go on two A100 80GB?" becomes: Llama 3.1 70B in F16, layer by layer over two devices of 80 GiB, up
to how many tokens of context. Pure.
"""

from dataclasses import dataclass
from typing import Final

from hakaru.hardware.machine import Hardware
from hakaru.memory.footprint import ContextSettings
from hakaru.models.catalogue import KnownModel
from hakaru.models.header_file import header_tensors
from hakaru.models.metadata import Metadata
from hakaru.models.mixture import preset_types
from hakaru.models.roster import quantizer_facts, roster
from hakaru.planning.load import load_of
from hakaru.planning.placement import Placement, Task
from hakaru.planning.search import max_context, place

TYPES_BY_BITS: Final = {2: "Q2_K", 3: "Q3_K_M", 4: "Q4_K_M", 5: "Q5_K_M", 6: "Q6_K", 8: "Q8_0", 16: "F16", 32: "F32"}
"""What people run when they say "n bits"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExactAnswer:
    """A known model of a real type over real devices, and the longest context that fits (0: not even 256 tokens)."""

    model: KnownModel
    type: str
    bpw: float
    settings: ContextSettings
    placement: Placement
    max_context: int

    @property
    def weights_bytes(self) -> int:
        """Bytes of the weights over all devices and RAM."""
        return sum(s.weights_bytes for s in self.placement.shares) + self.placement.ram.weights_bytes

    def as_json(self) -> dict[str, object]:
        """The `exact` object of `hakaru formula --json`."""
        return {
            "model": self.model.id,
            "type": self.type,
            "bpw": self.bpw,
            "context": self.settings.n_ctx,
            "verdict": self.placement.verdict,
            "max_context": self.max_context,
            "weights_bytes": self.weights_bytes,
            "devices": [s.as_json() for s in self.placement.devices],
            "flags": self.placement.layout.flags(),
        }


def exact_answer(model: KnownModel, bits: float, hardware: Hardware, settings: ContextSettings) -> ExactAnswer | None:
    """Place `model` at about `bits` per weight on `hardware`; None for bits that no type is known for."""
    preset = TYPES_BY_BITS.get(int(bits)) if float(bits).is_integer() else None
    if preset is None:
        return None
    full = header_tensors(model.tensors(), "F16")
    types = preset_types(roster(quantizer_facts(Metadata(model.id, model.metadata())), full), preset)
    tensors = header_tensors(model.tensors(), types)
    task = Task(load=load_of(tensors, model.shape.n_layer), shape=model.shape, settings=settings)
    return ExactAnswer(
        model=model,
        type=preset,
        bpw=8 * sum(t.n_bytes for t in tensors) / sum(t.n_elements for t in tensors),
        settings=settings,
        placement=place(task, hardware),
        max_context=max_context(task, hardware),
    )
