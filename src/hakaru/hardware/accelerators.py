"""Accelerators of this machine: NVIDIA through NVML, AMD and Intel through sysfs, Apple by its unified memory."""

import platform
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from hakaru.hardware.catalogue import known_bandwidth
from hakaru.hardware.machine import Device, Memory, Vendor

PCI_VENDORS: Final[dict[str, Vendor]] = {"0x1002": "amd", "0x8086": "intel"}
CARVE_OUT_BYTES: Final = 2 * 2**30
"""An integrated GPU reports the part of the RAM that the firmware set aside for it; up to this size a device counts as
such.
"""
APPLE_GPU_SHARE: Final = 0.75
"""The part of unified memory that Metal recommends as a GPU working set on most Macs (recommendedMaxWorkingSetSize);
assumed.
"""


@contextmanager
def nvml() -> Iterator[list[Any]]:
    """The handles of the NVIDIA GPUs; none without a driver. What NVML does not tell ends the block without an error."""
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        yield []
        return
    try:
        handles = []
        with suppress(pynvml.NVMLError):
            handles = [pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(pynvml.nvmlDeviceGetCount())]
        with suppress(pynvml.NVMLError):
            yield handles
    finally:
        pynvml.nvmlShutdown()


def nvidia() -> list[Device]:
    """NVIDIA GPUs with their free memory now; none without a driver."""
    with nvml() as handles:
        return [_nvidia(handle) for handle in handles]
    return []


def nvidia_process_bytes(pid: int) -> dict[str, list[int]]:
    """Bytes that the process takes on every NVIDIA GPU that it uses, its driver context included, by the GPU's name; empty
    where NVML does not tell.
    """
    import pynvml

    with nvml() as handles:
        found: dict[str, list[int]] = {}
        for handle in handles:
            for process in pynvml.nvmlDeviceGetComputeRunningProcesses(handle):
                if process.pid == pid and process.usedGpuMemory:
                    found.setdefault(_name(handle), []).append(int(process.usedGpuMemory))
        return found
    return {}


def nvidia_load(pid: int) -> float | None:
    """Share of the driver's last sample period (at most a second) in which a GPU that the process uses computed, for whomever; the busiest
    counts. Of all GPUs where NVML does not tell which it uses, as in containers; None where it tells nothing.
    """
    import pynvml

    with nvml() as handles:
        used = [h for h in handles if any(p.pid == pid for p in pynvml.nvmlDeviceGetComputeRunningProcesses(h))]
        return max((pynvml.nvmlDeviceGetUtilizationRates(h).gpu / 100 for h in used or handles), default=None)
    return None


def _name(handle: object) -> str:
    import pynvml

    name = pynvml.nvmlDeviceGetName(handle)
    return name.decode() if isinstance(name, bytes) else str(name)


def _nvidia(handle: object) -> Device:
    import pynvml

    memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
    text = _name(handle)
    return Device(
        name=text,
        vendor="nvidia",
        total_bytes=int(memory.total),
        free_bytes=int(memory.free),
        bandwidth_gb_s=known_bandwidth(text),
        source="NVML",
    )


def drm(root: Path = Path("/sys/class/drm")) -> list[Device]:
    """AMD and Intel GPUs with memory of their own, as their kernel drivers report it.

    amdgpu: `mem_info_vram_total` and `mem_info_vram_used`; xe and i915: the sum of the `lmem_total_bytes` files. An
    integrated GPU shares the RAM (no such file, or a small carve-out) and is not listed: llama.cpp's buffers for it are
    RAM.
    """
    found = []
    for card in sorted(root.glob("card[0-9]*")):
        device = card / "device"
        vendor = PCI_VENDORS.get(_text(device / "vendor") or "")
        total = _integer(device / "mem_info_vram_total") or _integer(card / "lmem_total_bytes")
        if "-" in card.name or vendor is None or not total or total <= CARVE_OUT_BYTES:
            continue
        used = _integer(device / "mem_info_vram_used")
        available = _integer(card / "lmem_avail_bytes")
        free = total - used if used is not None else available
        name = _text(device / "product_name") or f"{vendor.upper()} GPU {_text(device / 'device') or card.name}"
        found.append(
            Device(
                name=name, vendor=vendor, total_bytes=total, free_bytes=free, bandwidth_gb_s=known_bandwidth(name), source="sysfs"
            )
        )
    return found


def apple(memory: Memory) -> list[Device]:
    """The GPU of an Apple-silicon Mac: part of the unified memory."""
    if platform.system() != "Darwin" or platform.machine() != "arm64":
        return []
    from hakaru.hardware.processor import cpu

    name = cpu().model
    share = int(memory.total_bytes * APPLE_GPU_SHARE)
    return [
        Device(
            name=name,
            vendor="apple",
            total_bytes=share,
            free_bytes=min(share, memory.available_bytes),
            unified=True,
            bandwidth_gb_s=known_bandwidth(name),
            source="unified memory",
        )
    ]


def _text(path: Path) -> str | None:
    try:
        return path.read_text().strip() or None
    except OSError:
        return None


def _integer(path: Path) -> int | None:
    text = _text(path)
    return int(text) if text and text.isdigit() else None
