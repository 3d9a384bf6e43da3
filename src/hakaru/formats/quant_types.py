"""The tensor types of GGUF: how many weights share a block, and how many bytes a block takes.

Source: llama.cpp, ggml/src/ggml-common.h (the block structs). A test compares every row with
gguf-py's GGML_QUANT_SIZES.
"""

from typing import Final

from msgspec import Struct

from hakaru.errors import ModelUnknown


class QuantType(Struct, frozen=True, kw_only=True):
    """One ggml type."""

    id: int  # the number in a GGUF file
    name: str
    block: int  # weights that are stored together
    block_bytes: int  # bytes of a block

    @property
    def bpw(self) -> float:
        """Bits per weight."""
        return 8 * self.block_bytes / self.block

    @property
    def is_quantized(self) -> bool:
        """True if a block holds several weights, so that information was lost."""
        return self.block > 1

    def row_bytes(self, n: int) -> int:
        """Bytes of a row of `n` weights. Raises ModelUnknown if `n` is no multiple of the block."""
        if n % self.block:
            raise ModelUnknown(
                "a row of {n} weights cannot be stored as {type}, whose blocks hold {block}; "
                "choose another type.",
                n=n,
                type=self.name,
                block=self.block,
            )
        return n // self.block * self.block_bytes


_ROWS: Final = (
    (0, "F32", 1, 4), (1, "F16", 1, 2), (2, "Q4_0", 32, 18), (3, "Q4_1", 32, 20),
    (6, "Q5_0", 32, 22), (7, "Q5_1", 32, 24), (8, "Q8_0", 32, 34), (9, "Q8_1", 32, 40),
    (10, "Q2_K", 256, 84), (11, "Q3_K", 256, 110), (12, "Q4_K", 256, 144), (13, "Q5_K", 256, 176),
    (14, "Q6_K", 256, 210), (15, "Q8_K", 256, 292), (16, "IQ2_XXS", 256, 66),
    (17, "IQ2_XS", 256, 74), (18, "IQ3_XXS", 256, 98), (19, "IQ1_S", 256, 50),
    (20, "IQ4_NL", 32, 18), (21, "IQ3_S", 256, 110), (22, "IQ2_S", 256, 82),
    (23, "IQ4_XS", 256, 136), (24, "I8", 1, 1), (25, "I16", 1, 2), (26, "I32", 1, 4),
    (27, "I64", 1, 8), (28, "F64", 1, 8), (29, "IQ1_M", 256, 56), (30, "BF16", 1, 2),
    (34, "TQ1_0", 256, 54), (35, "TQ2_0", 256, 66), (39, "MXFP4", 32, 17), (40, "NVFP4", 64, 36),
    (41, "Q1_0", 128, 18), (42, "Q2_0", 64, 18),
)  # fmt: skip

BY_ID: Final = {
    id_: QuantType(id=id_, name=name, block=block, block_bytes=size)
    for id_, name, block, size in _ROWS
}
BY_NAME: Final = {type_.name: type_ for type_ in BY_ID.values()}

CACHE_TYPES: Final = tuple(
    name.lower()
    for name in ("F32", "F16", "BF16", "Q8_0", "Q5_1", "Q5_0", "Q4_1", "Q4_0", "IQ4_NL")
)
"""Types that llama.cpp accepts for the KV cache. Source: llama.cpp, common/arg.cpp
(kv_cache_types).
"""
