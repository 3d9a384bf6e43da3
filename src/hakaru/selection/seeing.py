"""What a model that sees takes beside its own weights: the projector (mmproj), known by the shape
of its tower, or else by the published number of its weights. Pure.

The weights are to the byte those of a projector in F16 where the tower is known. What it computes
with is estimated (`memory.projector`); where the tower is not known, that of the largest known one
is assumed.
"""

from functools import cache
from typing import Final, Literal

from msgspec import Struct

from hakaru.memory.projector import projector_compute
from hakaru.models.architectures import buffer_bytes
from hakaru.models.catalogue import KnownModel

WeightsSource = Literal["computed", "counted", "assumed"]
ASSUMED_COMPUTE_BYTES: Final = 3 * 2**29
"""What an unknown tower computes with: a little more than the largest known one, Qwen2.5-VL's."""
ASSUMED_WEIGHTS_BYTES: Final = 2**31
"""Of a projector of which nothing is known: those of the catalogue take 0.1 to 5 GiB, most of them
1.
"""
BYTES_EACH: Final = 2
"""Of a weight in F16; vectors have four, which are too few to count."""


class Seeing(Struct, frozen=True, kw_only=True):
    """The projector of a model, in bytes."""

    weights_bytes: int
    weights_source: WeightsSource
    compute_bytes: int  # for a picture at start, estimated
    growth_bytes: int  # more for the largest picture, estimated
    host_bytes: int  # copies of the picture in RAM

    @property
    def device_bytes(self) -> int:
        """On the first accelerator, or in RAM where there is none."""
        return self.weights_bytes + self.compute_bytes + self.growth_bytes

    @property
    def bytes(self) -> int:
        """All of it."""
        return self.device_bytes + self.host_bytes

    @property
    def assumed_bytes(self) -> int:
        """What is estimated or assumed of it."""
        return self.bytes - (self.weights_bytes if self.weights_source == "computed" else 0)

    def as_json(self) -> dict[str, object]:
        """The object `projector` of a row."""
        return {
            "bytes": self.bytes, "weights_bytes": self.weights_bytes,
            "weights_source": self.weights_source, "compute_bytes": self.compute_bytes,
            "growth_bytes": self.growth_bytes, "host_bytes": self.host_bytes,
            "compute_source": "computed" if self.host_bytes else "assumed",
        }  # fmt: skip


def seeing(model: KnownModel) -> Seeing:
    """What the projector of a model takes."""
    if model.tower:
        return _of_tower(model.tower, model.shape.n_embd)
    counted = BYTES_EACH * (model.n_params_tower or 0)
    return Seeing(
        weights_bytes=counted or ASSUMED_WEIGHTS_BYTES,
        weights_source="counted" if counted else "assumed",
        compute_bytes=ASSUMED_COMPUTE_BYTES,
        growth_bytes=0,
        host_bytes=0,
    )


@cache
def _of_tower(name: str, width: int) -> Seeing:
    from hakaru.models.towers import tower_header  # which no other task needs

    header = tower_header(name, width)
    compute = projector_compute(name, header)
    return Seeing(
        weights_bytes=buffer_bytes(header.tensors),
        weights_source="computed",
        compute_bytes=compute.start_bytes,
        growth_bytes=compute.growth_bytes,
        host_bytes=compute.host_bytes,
    )
