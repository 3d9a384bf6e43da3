"""The common rule of thumb for GPU memory. It serves for a quick answer, never for a verdict.

M = (P × 4 bytes) / (32 / Q) × 1.2, with P in billions of parameters and Q bits per weight, gives M
in GB (10^9 bytes). The fraction is Q/8 bytes per parameter (four bytes hold 32 bits), and the 1.2
stands for everything but the weights.
"""

from typing import Final

from hakaru.errors import Misuse

OVERHEAD: Final = 1.2


def formula_gigabytes(n_params: int, bits: float) -> float:
    """GB (10^9 bytes) by the formula: 42.0 for 70 billion parameters at 4 bits. Raises Misuse for
    bits outside 0.5 to 64.
    """
    if not 0.5 <= bits <= 64:
        raise Misuse(
            "{bits} bits per weight makes no sense; expected 1 to 32, such as 16, 8 or 4.",
            bits=bits,
        )
    return n_params / 1e9 * (bits / 8) * OVERHEAD
