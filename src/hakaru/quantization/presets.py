"""llama.cpp's presets: the names that people know, their ftype numbers, and the ladder from large to small.

A preset is a mixture: `Q4_K_M` gives some tensors Q6_K. Sizes are never estimated from the name; llama.cpp's quantizer
is asked (`Lab.quantized_types`) and the bytes follow from the tensor table. Source: llama.cpp, include/llama.h
(llama_ftype) and tools/quantize/quantize.cpp.
"""

from collections.abc import Iterable, Mapping
from typing import Final

from hakaru.errors import Misuse
from hakaru.models.gguf import Tensor
from hakaru.models.quant_types import BY_NAME

FTYPES: Final = {
    "F32": 0, "F16": 1, "BF16": 32, "Q8_0": 7, "Q6_K": 18, "Q5_1": 9, "Q5_K_M": 17, "Q5_K_S": 16, "Q5_0": 8, "Q4_1": 3, "Q4_K_M": 15,
    "Q4_K_S": 14, "Q4_0": 2, "IQ4_NL": 25, "IQ4_XS": 30, "Q3_K_L": 13, "IQ3_M": 27, "Q3_K_M": 12, "IQ3_S": 26, "Q3_K_S": 11, "Q2_K": 10,
}  # fmt: skip
"""Presets that need no importance data, by name."""

NEEDS_IMPORTANCE: Final = frozenset({"IQ3_XS", "IQ3_XXS", "IQ2_M", "IQ2_S", "IQ2_XS", "IQ2_XXS", "IQ1_M", "IQ1_S", "Q2_K_S"})
"""Presets that llama.cpp refuses, or that are useless, without importance data."""

LADDER: Final = ("Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "Q4_K_S", "IQ4_XS", "Q3_K_M", "Q2_K")
"""What the loop tries, from the most to the least bits."""


def ftype_of(name: str) -> tuple[str, int]:
    """The preset's canonical name and its llama_ftype number. Raises Misuse."""
    canonical = name.upper()
    if canonical in FTYPES:
        return canonical, FTYPES[canonical]
    if canonical in NEEDS_IMPORTANCE:
        raise Misuse(
            "--type {found} needs importance data, which hakaru does not collect yet; choose one of {known}.",
            found=canonical,
            known=", ".join(FTYPES),
        )
    raise Misuse("--type is '{found}', expected one of {known}.", found=name, known=", ".join(FTYPES))


def quantized_bytes(tensors: Iterable[Tensor], types: Mapping[str, str]) -> int:
    """Bytes of the weights when every tensor has the type in `types`; a tensor that is not named keeps its own."""
    return sum(tensor.bytes_as(BY_NAME[types.get(tensor.name, tensor.type.name)]) for tensor in tensors)
