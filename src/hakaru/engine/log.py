"""Reading llama.cpp's log: the sizes that it announces, in MiB with two digits."""

import re
from collections.abc import Iterable
from typing import Final

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
