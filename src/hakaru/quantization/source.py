"""Whether the source of a quantization is in full precision or already quantized."""

from collections.abc import Mapping
from typing import Literal

from msgspec import Struct

from hakaru.formats.quant_types import BY_NAME
from hakaru.language import listed, say
from hakaru.models.model import Model


class SourceKind(Struct, frozen=True, kw_only=True):
    """The precision of a source."""

    kind: Literal["full", "quantized"]  # quantized: some matrices were quantized before
    types: dict[str, int]  # type -> bytes of all its tensors

    def sentence(self, target: str | None = None) -> str | None:
        """What a person must know before quantizing it again to `target`; None for a source in full
        precision.
        """
        if self.kind == "full":
            return None
        named = listed(name for name in self.types if name != "F32")
        if target in self.types:
            return say(
                "The source is already quantized ({types}). {target} lies on its own grid, so "
                "that it looks free; every other type loses twice, what is copied nothing more. "
                "Losses are against this source, not against the original.",
                types=named,
                target=target,
            )
        return say(
            "The source is already quantized ({types}): what is quantized again loses twice, "
            "what is copied nothing more. Losses are against this source, not against the "
            "original.",
            types=named,
        )


def source_kind(model: Model) -> SourceKind:
    """Whether `model` is in full precision, by its matrices' types."""
    kind: Literal["full", "quantized"] = "quantized" if model.is_quantized else "full"
    return SourceKind(kind=kind, types=model.type_bytes())


def hidden_grids(errors: Mapping[str, Mapping[str, float]]) -> tuple[str, ...]:
    """The types that the weights were quantized to before, although the file does not say so.

    Such a type is coarser than Q8_0, and yet has less error than Q8_0 in most tensors. No other
    weights do that: the file was dequantized, and perhaps fine-tuned since.

    `errors`: tensor -> type -> relative squared error.
    """
    counts: dict[str, list[bool]] = {}
    for by_type in errors.values():
        for type_, error in by_type.items():
            if "Q8_0" in by_type and BY_NAME[type_].bpw < BY_NAME["Q8_0"].bpw:
                counts.setdefault(type_, []).append(error < by_type["Q8_0"])
    return tuple(type_ for type_, lower in sorted(counts.items()) if 2 * sum(lower) > len(lower))
