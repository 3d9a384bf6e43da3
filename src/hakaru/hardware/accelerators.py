"""Accelerators of this machine: NVIDIA through NVML, AMD and Intel through sysfs, Apple through
Metal.

Every accelerator whose memory can be read is listed; every other one is named with the reason.
Which of the listed ones an engine uses is another question: llama.cpp takes GPUs with memory of
their own, and a GPU that shares the RAM only where there is no other (`Machine.accelerators`).
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

from hakaru.hardware.apple import apple
from hakaru.hardware.facts import known_bandwidth, known_rates, name_by_pci
from hakaru.hardware.kernel import read_integer, read_text
from hakaru.hardware.machine import Device, Memory, SilentDevice, Vendor
from hakaru.hardware.nvidia import ask, name_of, nvml, scan
from hakaru.hardware.processor import memory as system_memory
from hakaru.hardware.unified import HALF
from hakaru.hardware.visible import Card, rocm_cards
from hakaru.language import say

DRM: Final = Path("/sys/class/drm")
NODES: Final = Path("/dev/dri")
PCI_VENDORS: Final[dict[str, Vendor]] = {"0x1002": "amd", "0x8086": "intel"}
CARVE_OUT_BYTES: Final = 2 * 2**30
"""The firmware usually sets no more than this aside for an integrated GPU."""
PAGE_BYTES: Final = 4096
APU_IDS: Final = (range(0x1000, 0x2000), range(0x9600, 0x9A00))
"""PCI numbers of AMD's processors with graphics; AMD's cards have other numbers (pci.ids)."""
DISCRETE_IDS: Final = (range(0x4905, 0x4910), range(0x5690, 0x56C0), range(0xE200, 0xE240))
"""PCI numbers of Intel's cards (pci.ids)."""


def all_devices(
    memory: Memory, environment: Mapping[str, str] = os.environ
) -> tuple[tuple[Device, ...], tuple[SilentDevice, ...]]:
    """The accelerators of this machine that can be used, in the order in which llama.cpp's backends
    number them, and the accelerators that do not tell their memory or are hidden.
    """
    nvidia, nvidia_silent = scan(memory, environment)
    if not nvidia and not nvidia_silent:
        nvidia_silent = _without_driver()
    others, others_silent = drm_scan(
        memory=memory, environment=environment, beside_nvidia=bool(nvidia or nvidia_silent)
    )
    return (*nvidia, *others, *apple(memory)), (*nvidia_silent, *others_silent)


def _without_driver(root: Path = DRM) -> list[SilentDevice]:
    """NVIDIA cards that the kernel lists, on a machine without NVIDIA's driver."""
    cards = [card / "device" for card in sorted(root.glob("card[0-9]*")) if "-" not in card.name]
    numbers = [
        read_text(device / "device") or ""
        for device in cards
        if read_text(device / "vendor") == "0x10de"
    ]
    return [
        SilentDevice(name=f"NVIDIA GPU {number}", reason=say("no driver of NVIDIA's answers"))
        for number in numbers
    ]


def nvidia_process_bytes(pid: int) -> dict[str, list[int]]:
    """Bytes that a process takes on NVIDIA GPUs, its driver context included: for each name of a
    GPU, one number for each GPU of that name. Empty where NVML does not tell.
    """
    bytes_by_name: dict[str, list[int]] = {}
    with nvml() as handles:
        for handle in handles:
            for process in _processes(handle):
                if process.pid == pid and process.usedGpuMemory:
                    n_bytes = int(process.usedGpuMemory)
                    bytes_by_name.setdefault(name_of(handle), []).append(n_bytes)
    return bytes_by_name


class GpuUser(Struct, frozen=True, kw_only=True):
    """A process that has memory on a GPU."""

    device: str  # the GPU's name
    number: int  # the GPU's, among NVIDIA's
    pid: int  # in a container perhaps the number that it has outside
    bytes: int | None  # None: the driver does not tell


def nvidia_users() -> list[GpuUser]:
    """The processes that have memory on NVIDIA GPUs, to compute or to draw, by GPU. Empty where
    NVML does not tell.
    """
    users: dict[tuple[int, int], GpuUser] = {}
    with nvml() as handles:
        for number, handle in enumerate(handles):
            for process in (*_processes(handle), *_processes(handle, "Graphics")):
                users[number, process.pid] = GpuUser(
                    device=name_of(handle),
                    number=number,
                    pid=int(process.pid),
                    bytes=int(process.usedGpuMemory) if process.usedGpuMemory else None,
                )
    return list(users.values())


def nvidia_load(pid: int) -> float | None:
    """The share of time for which the busiest GPU of a process computed, for this process or any
    other. None where NVML tells nothing.

    The time is the driver's last sample period, at most a second. Where NVML does not tell which
    GPUs the process uses, as in containers, all GPUs count.
    """
    with nvml() as handles:
        used = [
            handle
            for handle in handles
            if any(process.pid == pid for process in _processes(handle))
        ]
        rates = (ask("nvmlDeviceGetUtilizationRates", handle).value for handle in used or handles)
        return max((rate.gpu / 100 for rate in rates if rate is not None), default=None)
    return None


def _processes(handle: object, kind: str = "Compute") -> Sequence[Any]:
    processes: Sequence[Any] = ask(f"nvmlDeviceGet{kind}RunningProcesses", handle).value or ()
    return processes


def drm_scan(
    root: Path = DRM,
    *,
    memory: Memory | None = None,
    environment: Mapping[str, str] = os.environ,
    beside_nvidia: bool = False,
    nodes: Path = NODES,
) -> tuple[list[Device], list[SilentDevice]]:
    """AMD and Intel GPUs, and those of them that do not tell their memory or are hidden.

    The driver amdgpu has the files `mem_info_vram_total` and `_used` for a card's own memory, and
    `mem_info_gtt_total` and `_used` for what it may take of the RAM; i915 has `lmem_total_bytes`;
    xe has `physical_vram_size_bytes` for every tile. A GPU that shares the RAM counts with what the
    kernel lends it. Inside a container sysfs still shows the host's cards: a card whose node in
    /dev cannot be opened does not belong to the container.
    """
    memory = memory or system_memory()
    cards: list[Card] = []
    silent: list[SilentDevice] = []
    for card in sorted(root.glob("card[0-9]*"), key=lambda path: (len(path.name), path.name)):
        vendor = PCI_VENDORS.get(read_text(card / "device" / "vendor") or "")
        if "-" in card.name or vendor is None:
            continue
        device = _amd(card, memory) if vendor == "amd" else _intel(card, memory)
        if isinstance(device, Device) and (node := _closed_node(card, nodes)):
            reason = say("this process may not open {path}", path=node)
            silent.append(SilentDevice(name=device.name, reason=reason))
        elif isinstance(device, Device):
            unique = read_text(card / "device" / "unique_id")
            cards.append(Card(device=device, uuid=f"GPU-{unique}" if unique else None))
        elif device:
            silent.append(device)
    amd = [card for card in cards if card.device.vendor == "amd"]
    shown = rocm_cards(amd, environment, beside_nvidia=beside_nvidia)
    silent += [
        SilentDevice(
            name=card.device.name,
            reason=say("hidden by {variable}", variable=_hiding_variable(environment)),
            on_purpose=True,
        )
        for card in amd
        if card not in shown
    ]
    intel = [card for card in cards if card.device.vendor != "amd"]
    return [card.device for card in (*shown, *intel)], silent


def _closed_node(card: Path, nodes: Path) -> Path | None:
    """The node in /dev through which programs compute on the card, if this process cannot open it;
    None if it can.
    """
    for node in sorted((card / "device" / "drm").glob("renderD*")):
        if not os.access(nodes / node.name, os.R_OK | os.W_OK):
            return nodes / node.name
    return None


def _hiding_variable(environment: Mapping[str, str]) -> str:
    names = ("ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES")
    return next(name for name in names if name in environment)


def _amd(card: Path, memory: Memory) -> Device | SilentDevice | None:
    """An AMD GPU; None for one whose memory no model fits into."""
    device = card / "device"
    total = read_integer(device / "mem_info_vram_total")
    used = read_integer(device / "mem_info_vram_used")
    lent = read_integer(device / "mem_info_gtt_total")
    lent_used = read_integer(device / "mem_info_gtt_used")
    number = _pci_number(device)
    apu = any(number in ids for ids in APU_IDS) if number else (total or 0) <= CARVE_OUT_BYTES
    if total is None and lent is None:
        return SilentDevice(
            name=_name(device, "amd", None), reason=say("its driver does not tell its memory")
        )
    if apu and lent:
        lent = min(lent, _most_pages(card.parent) or lent)
    if apu and (lent or 0) > (total or 0):  # little is set aside: the kernel lends RAM instead
        free = min(lent - (lent_used or 0), memory.available_bytes) if lent else None
        return _device(device, "amd", lent or 0, free, unified=True)
    if apu and (total or 0) <= CARVE_OUT_BYTES:
        return None  # nothing is lent: no model fits there
    free = None if used is None else (total or 0) - used
    return _device(device, "amd", total or 0, free, is_label=not apu)


def _most_pages(root: Path) -> int | None:
    """The most bytes of RAM that the kernel's memory manager for GPUs (TTM) gives out, whatever
    `mem_info_gtt_total` says; None if unlimited.
    """
    pages = read_integer(root.parent.parent / "module" / "ttm" / "parameters" / "pages_limit")
    return pages * PAGE_BYTES if pages else None


def _intel(card: Path, memory: Memory) -> Device | SilentDevice | None:
    """An Intel GPU; None if the card has no PCI number."""
    device = card / "device"
    tiles = (read_integer(path) or 0 for path in device.glob("tile*/physical_vram_size_bytes"))
    total = sum(tiles) or read_integer(card / "lmem_total_bytes")
    if total:
        return _device(device, "intel", total, read_integer(card / "lmem_avail_bytes"))
    number = _pci_number(device)
    if number is None:
        return None
    if any(number in ids for ids in DISCRETE_IDS):
        return SilentDevice(
            name=_name(device, "intel", None), reason=say("its driver does not tell its memory")
        )
    share = int(memory.total_bytes * HALF)
    return _device(device, "intel", share, min(share, memory.available_bytes), unified=True)


def _device(
    device: Path,
    vendor: Vendor,
    total: int,
    free: int | None,
    *,
    unified: bool = False,
    is_label: bool = True,
) -> Device:
    """A device with `total` bytes of memory. `is_label` is True if a card is sold with that size,
    so that the size tells products of one PCI number apart.
    """
    sold = total if is_label and not unified else None
    name = _name(device, vendor, sold)
    return Device(
        name=name,
        vendor=vendor,
        total_bytes=total,
        free_bytes=free,
        unified=unified,
        bandwidth_gb_s=known_bandwidth(name, sold),
        rates=known_rates(name, sold),
        source="sysfs, RAM" if unified else "sysfs",
    )


def _name(device: Path, vendor: Vendor, total: int | None) -> str:
    """The product's name: as the driver tells it, else the catalogue's name for the PCI number,
    else that number.
    """
    number = read_text(device / "device")
    return (
        read_text(device / "product_name")
        or (name_by_pci(f"{vendor}:{number}", total) if number else None)
        or f"{vendor.upper()} GPU {number or device.parent.name}"
    )


def _pci_number(device: Path) -> int | None:
    try:
        return int(read_text(device / "device") or "", 16)
    except ValueError:
        return None
