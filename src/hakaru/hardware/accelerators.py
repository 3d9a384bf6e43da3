"""Accelerators of this machine: NVIDIA through NVML, AMD and Intel through sysfs, Apple through
Metal.

Every accelerator is listed that can be asked, and every other one is named with the reason why it
is not. Which of them an engine uses is another question: llama.cpp takes GPUs with memory of their
own, and one that shares the RAM only where there is no other (`Machine.accelerators`).
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from hakaru.hardware.apple import apple
from hakaru.hardware.catalogue import known_bandwidth, name_by_pci
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
"""What the firmware sets aside for an integrated GPU is usually no more than this."""
PAGE_BYTES: Final = 4096
APU_IDS: Final = (range(0x1000, 0x2000), range(0x9600, 0x9A00))
"""The numbers of AMD's processors with graphics; its cards have others (pci.ids)."""
DISCRETE_IDS: Final = (range(0x4905, 0x4910), range(0x5690, 0x56C0), range(0xE200, 0xE240))
"""The numbers of Intel's cards (pci.ids)."""


def all_devices(
    memory: Memory, environment: Mapping[str, str] = os.environ
) -> tuple[tuple[Device, ...], tuple[SilentDevice, ...]]:
    """The accelerators of this machine that can be used, in the order of their engines, and those
    that cannot be asked.
    """
    found, silent = scan(memory, environment)
    if not found and not silent:
        silent = _without_driver()
    others, others_silent = drm_scan(
        memory=memory, environment=environment, beside_nvidia=bool(found or silent)
    )
    return (*found, *others, *apple(memory)), (*silent, *others_silent)


def _without_driver(root: Path = DRM) -> list[SilentDevice]:
    """NVIDIA cards that the kernel lists and no driver of NVIDIA's answers for."""
    cards = [card / "device" for card in sorted(root.glob("card[0-9]*")) if "-" not in card.name]
    numbers = [
        _text(device / "device") or "" for device in cards if _text(device / "vendor") == "0x10de"
    ]
    return [
        SilentDevice(name=f"NVIDIA GPU {number}", reason=say("no driver of NVIDIA's answers"))
        for number in numbers
    ]


def nvidia() -> list[Device]:
    """NVIDIA GPUs with their free memory now, in CUDA's order; none without a driver."""
    return scan(system_memory())[0]


def nvidia_process_bytes(pid: int) -> dict[str, list[int]]:
    """Bytes that the process takes on every NVIDIA GPU that it uses, its driver context included,
    by the GPU's name; empty where NVML does not tell.
    """
    found: dict[str, list[int]] = {}
    with nvml() as handles:
        for handle in handles:
            for process in _processes(handle):
                if process.pid == pid and process.usedGpuMemory:
                    found.setdefault(name_of(handle), []).append(int(process.usedGpuMemory))
    return found


def nvidia_load(pid: int) -> float | None:
    """Share of the driver's last sample period (at most a second) in which a GPU that the process
    uses computed, for whomever; the busiest counts. Of all GPUs where NVML does not tell which it
    uses, as in containers; None where it tells nothing.
    """
    with nvml() as handles:
        used = [
            handle
            for handle in handles
            if any(process.pid == pid for process in _processes(handle))
        ]
        told = (ask("nvmlDeviceGetUtilizationRates", handle).value for handle in used or handles)
        return max((rates.gpu / 100 for rates in told if rates is not None), default=None)
    return None


def _processes(handle: object) -> Sequence[Any]:
    processes: Sequence[Any] = ask("nvmlDeviceGetComputeRunningProcesses", handle).value or ()
    return processes


def drm(root: Path = DRM) -> list[Device]:
    """AMD and Intel GPUs, as their kernel drivers report them."""
    return drm_scan(root)[0]


def drm_scan(
    root: Path = DRM,
    *,
    memory: Memory | None = None,
    environment: Mapping[str, str] = os.environ,
    beside_nvidia: bool = False,
    nodes: Path = NODES,
) -> tuple[list[Device], list[SilentDevice]]:
    """AMD and Intel GPUs, and those that do not tell their memory or are hidden.

    amdgpu tells `mem_info_vram_total` and `_used`, and for what it may take of the RAM
    `mem_info_gtt_total` and `_used`; i915 tells `lmem_total_bytes`; xe tells
    `physical_vram_size_bytes` of every tile. A GPU that shares the RAM is given what the kernel
    lends it. Inside a container sysfs still shows the host's cards: one whose node in /dev may not
    be opened is not ours.
    """
    memory = memory or system_memory()
    cards: list[Card] = []
    silent: list[SilentDevice] = []
    for card in sorted(root.glob("card[0-9]*"), key=lambda path: (len(path.name), path.name)):
        vendor = PCI_VENDORS.get(_text(card / "device" / "vendor") or "")
        if "-" in card.name or vendor is None:
            continue
        found = _amd(card, memory) if vendor == "amd" else _intel(card, memory)
        if isinstance(found, Device) and (node := _closed_node(card, nodes)):
            silent.append(
                SilentDevice(
                    name=found.name, reason=say("this process may not open {path}", path=node)
                )
            )
        elif isinstance(found, Device):
            unique = _text(card / "device" / "unique_id")
            cards.append(Card(device=found, uuid=f"GPU-{unique}" if unique else None))
        elif found:
            silent.append(found)
    amd = [card for card in cards if card.device.vendor == "amd"]
    shown = rocm_cards(amd, environment, beside_nvidia=beside_nvidia)
    hidden = [card for card in amd if card not in shown]
    silent += [
        SilentDevice(
            name=card.device.name,
            reason=say("hidden by {variable}", variable=_hider(environment)),
            on_purpose=True,
        )
        for card in hidden
    ]
    return [
        card.device for card in (*shown, *(card for card in cards if card.device.vendor != "amd"))
    ], silent


def _closed_node(card: Path, nodes: Path) -> Path | None:
    """The node through which programs would compute on the card, if it is not there or not for us;
    None if it is open.
    """
    for node in sorted((card / "device" / "drm").glob("renderD*")):
        if not os.access(nodes / node.name, os.R_OK | os.W_OK):
            return nodes / node.name
    return None


def _hider(environment: Mapping[str, str]) -> str:
    names = ("ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES")
    return next(name for name in names if name in environment)


def _amd(card: Path, memory: Memory) -> Device | SilentDevice | None:
    device = card / "device"
    total, used = _integer(device / "mem_info_vram_total"), _integer(device / "mem_info_vram_used")
    lent, lent_used = (
        _integer(device / "mem_info_gtt_total"),
        _integer(device / "mem_info_gtt_used"),
    )
    number = _pci_number(device)
    apu = any(number in ids for ids in APU_IDS) if number else (total or 0) <= CARVE_OUT_BYTES
    if total is None and lent is None:
        return SilentDevice(
            name=_name(device, "amd", None), reason=say("its driver does not tell its memory")
        )
    if apu and lent:
        lent = min(lent, _most_pages(card.parent) or lent)
    if apu and (lent or 0) > (
        total or 0
    ):  # what is set aside is small: the kernel lends RAM instead
        free = min(lent - (lent_used or 0), memory.available_bytes) if lent else None
        return _device(device, "amd", lent or 0, free, unified=True)
    if apu and (total or 0) <= CARVE_OUT_BYTES:
        return None  # nothing is lent: no model fits there
    return _device(
        device, "amd", total or 0, None if used is None else (total or 0) - used, sold_so=not apu
    )


def _most_pages(root: Path) -> int | None:
    """Bytes of RAM that the kernel's memory manager for GPUs gives out at most, whatever GTT
    says.
    """
    pages = _integer(root.parent.parent / "module" / "ttm" / "parameters" / "pages_limit")
    return pages * PAGE_BYTES if pages else None


def _intel(card: Path, memory: Memory) -> Device | SilentDevice | None:
    device = card / "device"
    tiles = _sum(_integer(path) for path in device.glob("tile*/physical_vram_size_bytes"))
    total = tiles or _integer(card / "lmem_total_bytes")
    if total:
        return _device(device, "intel", total, _integer(card / "lmem_avail_bytes"))
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
    sold_so: bool = True,
) -> Device:
    """A device of so much memory; `sold_so`: with which it is sold, so that it tells products of
    one PCI number apart.
    """
    sold = total if sold_so and not unified else None
    name = _name(device, vendor, sold)
    return Device(
        name=name,
        vendor=vendor,
        total_bytes=total,
        free_bytes=free,
        unified=unified,
        bandwidth_gb_s=known_bandwidth(name, sold),
        source="sysfs, RAM" if unified else "sysfs",
    )


def _name(device: Path, vendor: Vendor, total: int | None) -> str:
    """The product's name as the driver tells it, or the catalogue's for its PCI number; else that
    number.
    """
    number = _text(device / "device")
    known = name_by_pci(f"{vendor}:{number}", total) if number else None
    return (
        _text(device / "product_name")
        or known
        or f"{vendor.upper()} GPU {number or device.parent.name}"
    )


def _pci_number(device: Path) -> int | None:
    try:
        return int(_text(device / "device") or "", 16)
    except ValueError:
        return None


def _sum(values: Iterable[Any]) -> int:
    return sum(value for value in values if value)


def _text(path: Path) -> str | None:
    try:
        return path.read_text().strip() or None
    except (OSError, UnicodeDecodeError):
        return None


def _integer(path: Path) -> int | None:
    text = _text(path)
    return int(text) if text and text.isdigit() else None
