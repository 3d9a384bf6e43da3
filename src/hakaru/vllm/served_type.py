"""The types in which vLLM serves the matrices of a model, and the bytes of a matrix in each. Pure.

They are those of checkpoints (safetensors). A type of GGUF files (Q4_K_M, …) is none of them: vLLM
0.32 reads no GGUF file, so the checkpoint that the file was made from, or its FP8, AWQ or GPTQ
version, is what is planned and served.

Embeddings, the output matrix, norms, biases and routers stay 16 bits wide in all of them.
"""

from typing import Final, Literal

from msgspec import Struct

from hakaru.errors import Misuse

N_GROUP: Final = 128
"""Weights of a row that share a scale (AWQ, GPTQ), and the side of the square that does (FP8).

Source: the configurations that most published AWQ, GPTQ and FP8 checkpoints state.
"""

Width = Literal["16 bits", "fp8", "int4"]


class ServedType(Struct, frozen=True, kw_only=True):
    """A type of the matrices of layers."""

    name: str
    width: Width
    dtype: str  # the argument of `--dtype`: of all that is not quantized

    def matrix_bytes(self, n_in: int, n_out: int) -> int:
        """Bytes of a matrix of one rank that maps `n_in` to `n_out` values, with its scales.

        GPTQ is that without an order of activations (`desc_act`), which AWQ is equal to.
        Source: vLLM, create_weights in model_executor/layers/quantization (fp8.py,
        auto_awq.py, auto_gptq.py).
        """
        n_weights, n_groups = n_in * n_out, -(-n_in // N_GROUP)
        match self.width:
            case "16 bits":
                return 2 * n_weights
            case "fp8":  # a scale in F32 for each square
                return n_weights + 4 * n_groups * -(-n_out // N_GROUP)
        return n_weights // 2 + n_groups * n_out * 2 + n_groups * n_out // 2  # scales and zeros

    @property
    def must_divide(self) -> int:
        """What the inputs of a matrix of one rank must be a multiple of."""
        return 1 if self.width == "16 bits" else N_GROUP


SERVED_TYPES: Final = {
    "bf16": ServedType(name="bf16", width="16 bits", dtype="bfloat16"),
    "f16": ServedType(name="f16", width="16 bits", dtype="float16"),
    "fp8": ServedType(name="fp8", width="fp8", dtype="bfloat16"),
    "awq": ServedType(name="awq", width="int4", dtype="float16"),
    "gptq": ServedType(name="gptq", width="int4", dtype="float16"),
}


def served_type(name: str | None) -> ServedType:
    """The type that a person named; BF16 where none was. Raises Misuse."""
    known = SERVED_TYPES.get((name or "bf16").lower())
    if known is None:
        raise Misuse(
            "'{found}' is no type that vLLM serves: it reads checkpoints (safetensors), not GGUF "
            "files. Name one of {known}.",
            found=name,
            known=", ".join(SERVED_TYPES),
        )
    return known
