"""Whether a process of the engine ended because memory ran out: by its last words, or by the count
of processes that Linux ended for their memory.
"""

import re
import signal
from collections.abc import Iterable
from pathlib import Path
from typing import Final

_SAID: Final = re.compile(
    r"out[ _]?of[ _]?((device|host)[ _]?)?memory|insufficient memory|bad_alloc"
    r"|(failed|unable) to allocate|cannot allocate memory"
    r"|GGML_ASSERT\(\S*(mem_buffer|_allocs) != NULL",
    re.IGNORECASE,
)
"""How llama.cpp's backends say it: `failed to allocate buffer of size`, `cudaMalloc failed: out of
memory`, `ErrorOutOfDeviceMemory`. Source: llama.cpp, ggml/src/ and src/llama-kv-cache.cpp.
"""
_COUNTED: Final = re.compile(r"^oom_kill (\d+)$", re.MULTILINE)


def n_ended_for_memory() -> int:
    """Processes that Linux has ended for their memory since it started, also within the limit of a
    container; 0 where the system does not count them.
    """
    try:
        counted = _COUNTED.search(Path("/proc/vmstat").read_text(encoding="ascii"))
    except OSError:
        return 0
    return int(counted[1]) if counted else 0


def ran_out(lines: Iterable[str], code: int | None, n_before: int) -> bool:
    """Whether a process that said `lines` and ended with `code` ran out of memory. `n_before`:
    `n_ended_for_memory` when it was started.
    """
    is_counted = code == -signal.SIGKILL and n_ended_for_memory() > n_before
    return is_counted or any(_SAID.search(line) for line in lines)
