"""Tensor types whose numbers llama.cpp's ggml does not read (any more): which type it is, whose,
and what to do.

Numbers above 43 are free in ggml, so forks take them; some numbers below were given up by ggml and
taken by others, which the architecture in the same header tells apart. A number that stands nowhere
here is told as unknown, never guessed.

Sources: llama.cpp, ggml/include/ggml.h (the numbers given up, with their names);
ikawrakow/ik_llama.cpp, ggml/include/ggml.h; microsoft/BitNet's fork of ggml.h; ollama, issue 11796
(its MXFP4 is 4, ggml's 39).
"""

from pathlib import Path
from typing import Final

from hakaru.errors import ModelUnknown

IK_LLAMA: Final = {
    **dict.fromkeys((97, 98, 99), "Q8_X4"), 133: "Q6_0", 134: "IQ1_BN", 135: "IQ2_BN",
    136: "Q8_K64", 137: "IQ2_K", 138: "IQ3_K", 139: "IQ4_K", 140: "IQ5_K", 141: "IQ6_K",
    142: "IQ2_TN", 143: "IQ1_TN", 144: "IQ4_KS", 145: "IQ2_KS", 146: "IQ4_KSS", 147: "Q8_K16",
    148: "Q8_K32", 149: "Q8_KR8", 150: "Q8_K128", 151: "Q8_KV", 152: "IQ5_KS", 153: "IQ2_KT",
    154: "IQ3_KT", 155: "IQ4_KT", 156: "IQ3_KS", 157: "IQ2_KL", 158: "IQ1_KT", 202: "Q4_0_R8",
    206: "Q5_0_R4", 208: "Q8_0_R8", 210: "Q2_K_R4", 211: "Q3_K_R4", 212: "Q4_K_R4", 213: "Q5_K_R4",
    214: "Q6_K_R4", 216: "IQ2_XXS_R4", 217: "IQ2_XS_R4", 218: "IQ3_XXS_R4", 219: "IQ1_S_R4",
    220: "IQ4_NL_R4", 221: "IQ3_S_R4", 222: "IQ2_S_R4", 223: "IQ4_XS_R8", 229: "IQ1_M_R4",
    230: "BF16_R16", 233: "Q6_0_R4", 335: "IQ2_BN_R4", 337: "IQ2_K_R4", 338: "IQ3_K_R4",
    339: "IQ4_K_R4", 340: "IQ5_K_R4", 344: "IQ4_KS_R4", 352: "IQ5_KS_R4", 397: "Q8_K_R16",
    398: "Q8_KV_R8", 399: "Q8_K_R8",
}  # fmt: skip
"""97 to 99 changed their names between versions (Q8_0_X4, Q8_1_X4, Q8_2_X4)."""
REPACKED: Final = {
    31: ("Q4_0_4_4", "Q4_0"), 32: ("Q4_0_4_8", "Q4_0"), 33: ("Q4_0_8_8", "Q4_0"),
    36: ("IQ4_NL_4_4", "IQ4_NL"), 37: ("IQ4_NL_4_8", "IQ4_NL"), 38: ("IQ4_NL_8_8", "IQ4_NL"),
}  # fmt: skip
"""Interleaved for some processors in the file (2024): llama.cpp now does this when it loads the
type behind.
"""
OLLAMA_MXFP4: Final = 4
"""Ollama's MXFP4. Until May 2023 the number was Q4_2's, but GGUF files are younger (August 2023).
"""
REMOVED: Final = {5: "Q4_3"}
BITNET: Final = {36: "I2_S", 37: "I8_S", 38: "TL1", 39: "TL2"}


def is_bitnet_s(number: int, architecture: object, file_type: object) -> bool:
    """Whether a type number means Microsoft's type in a file of this architecture and preset: 39 is
    MXFP4 everywhere else.

    bitnet.cpp also writes plain Llamas so, with the preset's number 40, which is I2_S there.
    """
    return number in BITNET and (
        str(architecture).lower().startswith("bitnet") or (number == 36 and file_type == 40)
    )


def foreign_type(where: Path | str, tensor: str, number: int, *, is_bitnet: bool) -> ModelUnknown:
    """The error for a tensor of type `number`, in bitnet.cpp's files or others: which type it is,
    whose, and what to do.
    """
    if is_bitnet:
        return ModelUnknown(
            "{path}: tensor {name} is stored as {type} (number {found}), a type of Microsoft's "
            "bitnet.cpp, which llama.cpp cannot "
            "read; run the file with bitnet.cpp, or fetch the model as TQ1_0 or TQ2_0.",
            path=where,
            name=tensor,
            type=BITNET[number],
            found=number,
        )
    if number == OLLAMA_MXFP4:
        return ModelUnknown(
            "{path}: tensor {name} is stored as Ollama's MXFP4 (number {found}), which llama.cpp "
            "cannot read, its own being number 39; run the file with Ollama, or fetch the model's "
            "GGUF file from the Hugging Face Hub.",
            path=where,
            name=tensor,
            found=number,
        )
    return (
        _of_the_past(where, tensor, number)
        if number in REMOVED or number in REPACKED
        else _of_a_fork(where, tensor, number)
    )


def _of_the_past(where: Path | str, tensor: str, number: int) -> ModelUnknown:
    """The error for a type that llama.cpp once had."""
    if number in REMOVED:
        return ModelUnknown(
            "{path}: tensor {name} is stored as {type} (number {found}), which llama.cpp removed "
            "in 2023; fetch the model in another type, or quantize it again from the original.",
            path=where,
            name=tensor,
            type=REMOVED[number],
            found=number,
        )
    type_, plain = REPACKED[number]
    return ModelUnknown(
        "{path}: tensor {name} is stored as {type} (number {found}), {plain} interleaved for some "
        "processors, which llama.cpp no longer reads from files; fetch the model as {plain}, "
        "which it interleaves when loading, or quantize it again from the original.",
        path=where,
        name=tensor,
        type=type_,
        found=number,
        plain=plain,
    )


def _of_a_fork(where: Path | str, tensor: str, number: int) -> ModelUnknown:
    """The error for a type of ik_llama.cpp, or one that nobody here knows."""
    if number in IK_LLAMA:
        return ModelUnknown(
            "{path}: tensor {name} is stored as {type} (number {found}), a type of ik_llama.cpp, "
            "which llama.cpp cannot read; run the file with ik_llama.cpp, or fetch the model in a "
            "type of llama.cpp's, such as Q4_K_M or IQ4_XS.",
            path=where,
            name=tensor,
            type=IK_LLAMA[number],
            found=number,
        )
    return ModelUnknown(
        "{path}: tensor {name} has type number {found}, which neither this hakaru's llama.cpp nor "
        "any fork known to hakaru defines; it comes from a newer llama.cpp or another fork: ask "
        "whoever made the file, or fetch the model in another type.",
        path=where,
        name=tensor,
        found=number,
    )
