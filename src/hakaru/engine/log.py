"""Reading llama.cpp's log: the sizes that it announces, in MiB with two digits, and its last words."""

import re
from collections.abc import Iterable, Sequence
from typing import Final

_TELLING: Final = re.compile(r"assert|error|failed|abort", re.IGNORECASE)
_EMPTY: Final = re.compile(r"Failed to init server|^\s*$|^Traceback|^  File ")
_BUFFER: Final = re.compile(r"(\S+)\s+(model|KV|compute|output) buffer size =\s+([0-9.]+) MiB")


def buffer_bytes(lines: Iterable[str]) -> dict[str, int]:
    """Bytes by kind (model, KV, compute, output), summed over devices; of a buffer that is announced again the last
    size counts.
    """
    sizes: dict[tuple[str, str], float] = {}
    for line in lines:
        if found := _BUFFER.search(line):
            sizes[found[1], found[2]] = float(found[3])
    return {
        kind: round(sum(mib for (_, of), mib in sizes.items() if of == kind) * 2**20)
        for kind in ("model", "KV", "compute", "output")
    }


def last_words(log: Sequence[str]) -> str:
    """The first line that names a reason, or the last line; `-` for an empty log."""
    kept = [line.strip() for line in log if not _EMPTY.search(line)]
    return next((line for line in kept if _TELLING.search(line)), kept[-1] if kept else "-")
