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

MXFP4_INNER: Final = 128
MXFP4_OUTER: Final = 256
"""Experts in MXFP4 are padded to multiples: the inner values of a rank, and inputs and outputs. As
Marlin's and TensorRT-LLM's kernels have it; Triton's, on Hopper, pad less. Source: vLLM,
mxfp4_round_up_hidden_size_and_intermediate_size in layers/fused_moe/oracle/mxfp4.py.
"""
Width = Literal["16 bits", "fp8", "int4", "experts in mxfp4"]


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
            case "16 bits" | "experts in mxfp4":
                return 2 * n_weights
            case "fp8":  # a scale in F32 for each square
                return n_weights + 4 * n_groups * -(-n_out // N_GROUP)
        return n_weights // 2 + n_groups * n_out * 2 + n_groups * n_out // 2  # scales and zeros

    def expert_bytes(self, n_in: int, n_out: int) -> int:
        """The same of a matrix of an expert: in MXFP4, 32 weights share a scale of one byte."""
        if self.width == "experts in mxfp4":
            return n_in * n_out // 2 + n_in * n_out // 32
        return self.matrix_bytes(n_in, n_out)

    def padded_expert(self, n: int, tp: int, *, is_inner: bool) -> int:
        """`n` values of an expert, as many as a rank holds: inner ones are divided."""
        if self.width != "experts in mxfp4":
            return n // tp if is_inner else n
        multiple, n = (MXFP4_INNER, -(-n // tp)) if is_inner else (MXFP4_OUTER, n)
        return -(-n // multiple) * multiple

    @property
    def must_divide(self) -> int:
        """What the inputs of a matrix of one rank must be a multiple of."""
        return N_GROUP if self.width in {"fp8", "int4"} else 1


SERVED_TYPES: Final = {
    "bf16": ServedType(name="bf16", width="16 bits", dtype="bfloat16"),
    "f16": ServedType(name="f16", width="16 bits", dtype="float16"),
    "fp8": ServedType(name="fp8", width="fp8", dtype="bfloat16"),
    "awq": ServedType(name="awq", width="int4", dtype="float16"),
    "gptq": ServedType(name="gptq", width="int4", dtype="float16"),
    "mxfp4": ServedType(name="mxfp4", width="experts in mxfp4", dtype="bfloat16"),
}


def served_type(name: str) -> ServedType:
    """The type of this name. Raises Misuse."""
    known = SERVED_TYPES.get(name.lower())
    if known is None:
        raise Misuse(
            "'{found}' is no type that vLLM serves: it reads checkpoints (safetensors), not GGUF "
            "files. Name one of {known}.",
            found=name,
            known=", ".join(SERVED_TYPES),
        )
    return known
