"""The article's formula for GPU memory: for talk, never for a verdict of ours.

M = (P × 4 bytes) / (32 / Q) × 1.2, with P in billions of parameters and Q bits per weight. P is in
billions, so M is in GB (10^9). The fraction is simply Q/8 bytes per parameter (four bytes hold 32
bits), and the 1.2 is a rule of thumb that stands for everything else.
"""

from typing import Final

from hakaru.errors import Misuse

OVERHEAD: Final = 1.2


def formula_gigabytes(n_params: int, bits: float) -> float:
    """GB (10^9 bytes) that the article's formula gives. 70 billion parameters at 4 bits: 42.0.
    Raises Misuse for odd bits.
    """
    if not 0.5 <= bits <= 64:
        raise Misuse(
            "{bits} bits per weight makes no sense; expected 1 to 32, such as 16, 8 or 4.",
            bits=bits,
        )
    return n_params / 1e9 * (bits / 8) * OVERHEAD
