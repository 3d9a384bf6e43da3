"""Reading llama.cpp's log: the sizes that it announces, in MiB with two digits, and its last words."""

import re
from collections.abc import Iterable, Sequence
from typing import Final

_TELLING: Final = re.compile(r"assert|error|failed|abort", re.IGNORECASE)
_EMPTY: Final = re.compile(r"Failed to init server|^\s*$|^Traceback|^  File ")
_BUFFER: Final = re.compile(r"(\S+)\s+(model|KV|RS|compute|output) buffer size =\s+([0-9.]+) MiB")


def buffer_bytes(lines: Iterable[str]) -> dict[str, int]:
    """Bytes by kind (model, KV, compute, output), summed over devices; the states of recurrent layers (RS) count as KV.

    Weights and caches may lie in several buffers of one device (split files, layers with windows), which are added; of a
    compute or output buffer that is announced again the last size counts.
    """
    kept = dict.fromkeys(("model", "KV"), 0.0)
    last: dict[tuple[str, str], float] = {}
    for line in lines:
        if found := _BUFFER.search(line):
            device, kind, mib = found[1], found[2], float(found[3])
            if kind in {"compute", "output"}:
                last[device, kind] = mib
            else:
                kept["KV" if kind == "RS" else kind] += mib
    sizes = kept | {kind: sum(mib for (_, of), mib in last.items() if of == kind) for kind in ("compute", "output")}
    return {kind: round(mib * 2**20) for kind, mib in sizes.items()}


def last_words(log: Sequence[str]) -> str:
    """The first line that names a reason, or the last line; `-` for an empty log."""
    kept = [line.strip() for line in log if not _EMPTY.search(line)]
    return next((line for line in kept if _TELLING.search(line)), kept[-1] if kept else "-")
