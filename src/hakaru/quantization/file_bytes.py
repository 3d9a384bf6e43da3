"""The bytes of a GGUF file to the byte, before it is written.

A file is its header, padded, and then every tensor, each padded to the alignment, the last one too.
Source: llama.cpp, ggml/src/gguf.cpp and src/llama-quant.cpp (both pad behind every tensor).
"""

from fractions import Fraction

from hakaru.errors import Misuse
from hakaru.formats.gguf import ALIGNMENT, Tensor, padded
from hakaru.formats.quant_types import BY_NAME


def padded_bytes(tensor: Tensor, type_: str, alignment: int = ALIGNMENT) -> int:
    """Bytes that `tensor` takes in a file as `type_`. Raises ModelUnknown if its blocks do not
    divide the rows.
    """
    return padded(tensor.bytes_as(BY_NAME[type_]), alignment)


def budget_bytes(n_params: int, bpw: float | str | Fraction) -> int:
    """The whole bytes in `bpw` bits for each of `n_params` weights, rounded down.

    The decimal digits count as they are written: 4.2 means 42/10. Raises Misuse for anything but a
    positive number.
    """
    try:
        exact = Fraction(str(bpw))
    except (ValueError, ZeroDivisionError):
        exact = Fraction(0)
    if exact <= 0:
        raise Misuse("'{found}' is no number of bits per weight; expected such as 4.5.", found=bpw)
    return int(n_params * exact / 8)
