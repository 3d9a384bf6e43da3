"""The exact answer beside the article's formula: a known model of that size, its real type, real
devices.

"Does 70B at 16 bits go on two A100 80GB?" becomes: Llama 3.1 70B in F16, layer by layer over two
devices of 80 GiB, up to how many tokens of context. Pure.
"""

from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from hakaru.formats.gguf import Tensor
from hakaru.formats.header_file import header_tensors
from hakaru.formats.metadata import Metadata
from hakaru.hardware.machine import Hardware
from hakaru.memory.compute import is_known
from hakaru.memory.settings import ContextSettings
from hakaru.models.catalogue import KnownModel
from hakaru.models.mixture import preset_types
from hakaru.models.presets import FTYPES, NEEDS_IMPORTANCE
from hakaru.models.roster import quantizer_facts, roster
from hakaru.planning.load import load_of
from hakaru.planning.placement import Task
from hakaru.planning.search import max_context, place
from hakaru.planning.shares import Placement

TYPES_BY_BITS: Final = {
    2: "Q2_K",
    3: "Q3_K_M",
    4: "Q4_K_M",
    5: "Q5_K_M",
    6: "Q6_K",
    8: "Q8_0",
    16: "F16",
    32: "F32",
}
"""What people run when they say "n bits"."""
FOR_ANY_MODEL: Final = tuple(name for name in (*FTYPES, *NEEDS_IMPORTANCE) if name != "MXFP4_MOE")
"""Types that are looked through for other bits, the largest first."""
ABOUT: Final = 0.2
"""By how much the bits of a type may differ from those that were asked for."""


class ExactAnswer(Struct, frozen=True, kw_only=True):
    """A known model of a real type over real devices."""

    model: KnownModel
    type: str
    bpw: float
    settings: ContextSettings
    placement: Placement
    max_context: int  # the longest that fits; 0: not even 256 tokens

    @property
    def weights_bytes(self) -> int:
        """Bytes of the weights over all devices and RAM."""
        return (
            sum(s.weights_bytes for s in self.placement.shares) + self.placement.ram.weights_bytes
        )

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


def exact_answer(
    model: KnownModel, bits: float, hardware: Hardware, settings: ContextSettings
) -> ExactAnswer | None:
    """Place `model` at about `bits` per weight on `hardware`; None for bits that no type has, or a
    model without arithmetic of ours.
    """
    if not is_known(model.shape):
        return None
    full = header_tensors(model.tensors(), "F16")
    facts = roster(quantizer_facts(Metadata(model.id, model.metadata())), full)

    def tensors_at(preset: str) -> tuple[Tensor, ...]:
        return header_tensors(model.tensors(), preset_types(facts, preset))

    usual = TYPES_BY_BITS.get(int(bits)) if float(bits).is_integer() else None
    preset = usual or min(FOR_ANY_MODEL, key=lambda name: abs(_bpw(tensors_at(name)) - bits))
    tensors = tensors_at(preset)
    if usual is None and abs(_bpw(tensors) / bits - 1) > ABOUT:
        return None
    task = Task(load=load_of(tensors, model.shape.n_layer), shape=model.shape, settings=settings)
    return ExactAnswer(
        model=model,
        type=preset,
        bpw=_bpw(tensors),
        settings=settings,
        placement=place(task, hardware),
        max_context=max_context(task, hardware),
    )


def _bpw(tensors: Sequence[Tensor]) -> float:
    return 8 * sum(t.n_bytes for t in tensors) / sum(t.n_elements for t in tensors)
