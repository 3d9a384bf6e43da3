"""How the recommended model gets onto this disk: the file that somebody made, or one that is made
here of the original weights. Pure.

Which types are published, the catalogue does not know; `hakaru pull` looks. So both ways are told.
"""

from collections.abc import Callable

from msgspec import Struct

from hakaru.pulling.ways import Way
from hakaru.selection.contender import Contender

ORIGINAL_BYTES = 2
"""Of a weight as its makers publish it: 16 bits."""


class Paces(Struct, frozen=True, kw_only=True):
    """How fast models get onto a machine."""

    bytes_per_s: float | None  # of the last download; None: there was none
    quantizing_s: Callable[[int], float | None]  # for so many parameters; None: not known
    ram_bytes: int


def ways_to(row: Contender, paces: Paces) -> tuple[Way, Way]:
    """The ready-made file, and the one that is made of the original weights."""
    size, n_params = row.sized.file_bytes, row.model.n_params
    original = ORIGINAL_BYTES * n_params
    ready = Way(
        kind="ready", label=row.type, bytes=size, missing_bytes=size, bytes_per_s=paces.bytes_per_s
    )
    make = Way(
        kind="make", label="BF16", bytes=original, missing_bytes=original,
        bytes_per_s=paces.bytes_per_s, made_bytes=size,
        quantizing_s=paces.quantizing_s(n_params) if original <= paces.ram_bytes else None,
    )  # fmt: skip
    return ready, make
