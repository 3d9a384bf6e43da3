"""Reading llama.cpp's log: the sizes that it announces, in MiB with two digits, and its last
words.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Final

_TELLING: Final = re.compile(r"assert|error|failed|abort", re.IGNORECASE)
_EMPTY: Final = re.compile(r"Failed to init server|^\s*$|^Traceback|^  File ")
_CHECKPOINT: Final = re.compile(
    r"id +(\d+) .*created context checkpoint (\d+) of \d+ .*size = ([0-9.]+) MiB"
)
_BUFFER: Final = re.compile(r"(\S+)\s+(model|KV|RS|compute|output) buffer size =\s+([0-9.]+) MiB")


def buffer_bytes(lines: Iterable[str]) -> dict[str, int]:
    """Bytes by kind (model, KV, compute, output), summed over devices; the states of recurrent
    layers (RS) count as KV.
    """
    sizes = _buffers(lines)
    return {
        kind: round(sum(mib for (_, of), mib in sizes.items() if of == kind) * 2**20)
        for kind in ("model", "KV", "compute", "output")
    }


def accelerator_bytes(lines: Iterable[str]) -> int:
    """Bytes of all buffers that do not lie in host memory."""
    return round(
        sum(mib for (device, _), mib in _buffers(lines).items() if not is_host(device)) * 2**20
    )


def device_bytes(lines: Iterable[str]) -> dict[str, int]:
    """Bytes of weights and KV cache by accelerator, in the engine's order: CUDA2 before CUDA10."""
    lying: dict[str, float] = {}
    for (device, kind), mib in _buffers(lines).items():
        if kind in {"model", "KV"} and not is_host(device):
            lying[device] = lying.get(device, 0.0) + mib

    def order(device: str) -> tuple[str, int]:
        number = re.search(r"\d+", device)
        return re.sub(r"\d+", "", device), int(number[0]) if number else 0

    return {device: round(lying[device] * 2**20) for device in sorted(lying, key=order)}


def backend_of_log(lines: Iterable[str]) -> str:
    """What ran the model: the engine's name for its first accelerator, without the number (CUDA
    for CUDA1), or `cpu` without accelerators.
    """
    names = [device for device, _ in _buffers(lines) if not is_host(device)]
    return re.sub(r"\d.*", "", names[0]) if names else "cpu"


def is_host(device: str) -> bool:
    """Whether llama.cpp's name for a buffer means host memory: CPU, CPU_Mapped, CPU_REPACK,
    CUDA_Host; AMX is where the processor's own matrix unit has its weights. Source: llama.cpp,
    ggml/src/ggml-cpu/amx/amx.cpp and the other buffer types of ggml-cpu.
    """
    return device.startswith("CPU") or device.endswith("_Host") or device == "AMX"


def checkpoint_of(line: str) -> tuple[int, int] | None:
    """The slot and the bytes of all its context checkpoints, if the line says that one was made;
    else None.
    """
    made = _CHECKPOINT.search(line)
    return (int(made[1]), round(int(made[2]) * float(made[3]) * 2**20)) if made else None


def _buffers(lines: Iterable[str]) -> dict[tuple[str, str], float]:
    """MiB by device and kind. Weights and caches may lie in several buffers of one device (split
    files, layers with windows), which are added; of a compute or output buffer that is announced
    again the last size counts.
    """
    sizes: dict[tuple[str, str], float] = {}
    for line in lines:
        if buffer := _BUFFER.search(line):
            device, kind, mib = buffer[1], buffer[2].replace("RS", "KV"), float(buffer[3])
            added = sizes.get((device, kind), 0.0) if kind in {"model", "KV"} else 0.0
            sizes[device, kind] = added + mib
    return sizes


def last_words(log: Sequence[str]) -> str:
    """The first line that names a reason, or the last line; `-` for an empty log."""
    kept = [line.strip() for line in log if not _EMPTY.search(line)]
    return next((line for line in kept if _TELLING.search(line)), kept[-1] if kept else "-")
