"""The exact answer beside the article's formula: a known model of that size, its real type, real devices.

"Does 70B at 16 bits go on two A100 80GB?" becomes: Llama 3.1 70B in F16, layer by layer over two devices of 80 GiB, up
to how many tokens of context. Pure.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from hakaru.hardware.machine import Device
from hakaru.memory.footprint import ContextSettings
from hakaru.models.catalogue import KnownModel
from hakaru.planning.placement import DeviceShare, FitVerdict, judge, max_context, place

TYPES_BY_BITS: Final = {
    2: ("Q2_K", 3.16), 3: ("Q3_K_M", 4.00), 4: ("Q4_K_M", 4.89), 5: ("Q5_K_M", 5.70), 6: ("Q6_K", 6.56), 8: ("Q8_0", 8.50),
    16: ("F16", 16.0), 32: ("F32", 32.0),
}  # fmt: skip
"""What people run when they say "n bits", and its real bits per weight over a whole model.

Source: llama.cpp, tools/quantize/README.md, Llama 3.1 8B (Q3_K_M: interpolated between Q3_K_S and Q3_K_L of the same
table).
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExactAnswer:
    """A known model of a real type over real devices, and the longest context that fits (0: not even 256 tokens)."""

    model: KnownModel
    type: str
    bpw: float
    settings: ContextSettings
    shares: tuple[DeviceShare, ...]
    verdict: FitVerdict
    max_context: int

    @property
    def weights_bytes(self) -> int:
        """Bytes of the weights over all devices."""
        return sum(s.weights_bytes for s in self.shares)

    def as_json(self) -> dict[str, object]:
        """The `exact` object of `hakaru formula --json`."""
        return {
            "model": self.model.id,
            "type": self.type,
            "bpw": self.bpw,
            "context": self.settings.n_ctx,
            "verdict": self.verdict,
            "max_context": self.max_context,
            "weights_bytes": self.weights_bytes,
            "devices": [share_json(s) for s in self.shares],
        }


def exact_answer(model: KnownModel, bits: float, devices: Sequence[Device], settings: ContextSettings) -> ExactAnswer:
    """Place `model` at about `bits` per weight on `devices`. Bits that no type is known for are taken as they are."""
    type_, bpw = TYPES_BY_BITS.get(int(bits), (f"{bits:g} bits", bits)) if float(bits).is_integer() else (f"{bits:g} bits", bits)
    shares = place(model.shape, bpw, devices, settings, tied=model.tied)
    verdicts = [judge(s.needed_bytes, s.device.usable_bytes) for s in shares]
    verdict: FitVerdict = next((v for v in ("does_not_fit", "tight") if v in verdicts), "fits")
    return ExactAnswer(
        model=model,
        type=type_,
        bpw=bpw,
        settings=settings,
        shares=tuple(shares),
        verdict=verdict,
        max_context=max_context(model.shape, bpw, devices, settings, tied=model.tied),
    )


def share_json(share: DeviceShare) -> dict[str, object]:
    """One device as it stands in `--json`."""
    return {
        "name": share.device.name,
        "capacity_bytes": share.device.total_bytes,
        "free_bytes": share.device.free_bytes,
        "layers": share.n_layer,
        "weights_bytes": share.weights_bytes,
        "kv_cache_bytes": share.kv_cache_bytes,
        "compute_bytes": share.compute_bytes,
        "overhead_bytes": share.overhead_bytes,
        "headroom_bytes": share.headroom_bytes,
    }
