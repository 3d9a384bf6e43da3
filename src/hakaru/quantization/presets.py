"""Presets by name, the bytes that follow from them, and the ladder from large to small.

A preset is a mixture: `Q4_K_M` gives some tensors Q6_K. Sizes are never estimated from the name:
`hakaru.models.mixture` gives the type of every tensor, and the bytes follow from the tensor table.
Source: llama.cpp, tools/quantize/quantize.cpp.
"""

from collections.abc import Iterable, Mapping
from typing import Final

from hakaru.errors import Misuse
from hakaru.formats.gguf import Tensor
from hakaru.formats.quant_types import BY_NAME
from hakaru.language import listed
from hakaru.models.presets import FTYPES, NEEDS_IMPORTANCE, nearest_presets, no_preset

LADDER: Final = ("Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "Q4_K_S", "IQ4_XS", "Q3_K_M", "Q2_K")
"""The presets that the loop (`choosing`) tries, from the most to the least bits."""


def ftype_of(name: str, *, has_importance: bool = False) -> tuple[str, int]:
    """The preset's canonical name and its llama_ftype number. Raises Misuse."""
    canonical = name.upper()
    ftypes = FTYPES | (NEEDS_IMPORTANCE if has_importance else {})
    if canonical in ftypes:
        return canonical, ftypes[canonical]
    if canonical in NEEDS_IMPORTANCE:
        raise Misuse(
            "`preset` {found} needs importance data: `importance` auto or an imatrix file; or "
            "choose one without, such as {nearest}.",
            found=canonical,
            nearest=listed(nearest_presets(canonical, FTYPES)),
        )
    raise no_preset(name, ftypes)


def quantized_bytes(tensors: Iterable[Tensor], types: Mapping[str, str]) -> int:
    """Bytes of the weights when every tensor has the type in `types`; a tensor that is not named
    keeps its own.
    """
    return sum(
        tensor.bytes_as(BY_NAME[types.get(tensor.name, tensor.type.name)]) for tensor in tensors
    )
