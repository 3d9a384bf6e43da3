"""NVIDIA's GPUs through NVML, its driver's library for monitoring.

Each card is asked alone, so that a card that has fallen off the bus, or does not tell its memory,
hides no other card. A board whose GPU shares the processor's memory (GB10, Jetson) has the system's
memory. A card with MIG counts as its slices. A card that cannot be asked is listed with the reason,
never dropped.
"""

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import replace

from hakaru.hardware.facts import known_bandwidth, known_rate, known_rates
from hakaru.hardware.kernel import read_text
from hakaru.hardware.lookup import find_rows
from hakaru.hardware.machine import Device, Memory, SilentDevice, ram_device
from hakaru.hardware.processor import memory as system_memory
from hakaru.hardware.visible import Card, cuda_cards
from hakaru.language import say

NO_DRIVER: Final = ("NVMLError_LibraryNotFound", "NVMLError_DriverNotLoaded", "AttributeError")
"""Errors of NVML's start that say: there is no NVIDIA driver. Any other error hides cards."""
BOARD: Final = Path("/proc/device-tree/model")
"""The file with the name of a board, such as `NVIDIA Jetson AGX Orin Developer Kit`."""


class Answer(Struct, frozen=True):
    """NVML's answer to one call."""

    value: Any = None
    reason: str | None = None  # why there is no value
    error: str = ""  # the name of NVML's error


def ask(function: str, *arguments: object) -> Answer:
    """Call one of NVML's functions. An error, and also a function that an older driver or library
    lacks, gives an answer without a value.
    """
    if not _has_library():
        return Answer(reason="NVML Shared Library Not Found", error=NO_DRIVER[0])
    import pynvml

    try:
        return Answer(getattr(pynvml, function)(*arguments))
    except (pynvml.NVMLError, AttributeError) as error:
        return Answer(reason=str(error) or type(error).__name__, error=type(error).__name__)


@cache
def _has_library() -> bool:
    """Whether the driver's library can be opened. On Linux that is tried before the module for it
    is imported, which takes 15 ms: most machines without an NVIDIA GPU have none.
    """
    if sys.platform != "linux" or "pynvml" in sys.modules:
        return True
    from ctypes import CDLL

    try:
        CDLL("libnvidia-ml.so.1")
    except OSError:
        return False
    return True


@contextmanager
def nvml() -> Iterator[list[Any]]:
    """The handles of the NVIDIA GPUs that can be asked; none without a driver. NVML's errors in
    the block end the block and are not raised.
    """
    with _opened() as start:
        handles = [answer.value for answer in _handles(start)]
        if not handles:
            yield []
            return
        import pynvml

        with suppress(pynvml.NVMLError):
            yield [handle for handle in handles if handle is not None]


@contextmanager
def _opened() -> Iterator[Answer]:
    """The answer to NVML's start; NVML is shut down at the end of the block."""
    start = ask("nvmlInit")
    try:
        yield start
    finally:
        if start.reason is None:
            ask("nvmlShutdown")


def _handles(start: Answer) -> list[Answer]:
    """For each card a handle, or the reason why there is none. If NVML could not start, or could
    not count, one answer stands for all cards.
    """
    if start.reason is not None:
        return [] if start.error in NO_DRIVER else [start]
    count = ask("nvmlDeviceGetCount")
    if count.reason is not None:
        return [count]
    return [ask("nvmlDeviceGetHandleByIndex", i) for i in range(count.value)]


def scan(
    memory: Memory, environment: Mapping[str, str] = os.environ, board: Path = BOARD
) -> tuple[list[Device], list[SilentDevice]]:
    """The GPUs that CUDA shows, in CUDA's order and with their free memory now; then the GPUs that
    cannot be asked, or that are hidden.
    """
    cards, silent = _all_cards(memory, board)
    shown = cuda_cards(cards, environment)
    return [card.device for card in shown], [*silent, *_hidden(cards, shown)]


@cache
def pinned_order() -> dict[str, str]:
    """The environment in which CUDA numbers the cards as `scan` does: a list of all UUIDs. Empty
    where all cards are alike, since then no order is wrong, and where a card has no UUID.
    """
    cards, _ = _all_cards(system_memory(), BOARD)
    shown = cuda_cards(cards, os.environ)
    if len({card.device.name for card in shown}) < 2 or not all(card.uuid for card in shown):
        return {}
    return {"CUDA_VISIBLE_DEVICES": ",".join(str(card.uuid) for card in shown)}


def _all_cards(memory: Memory, board: Path) -> tuple[list[Card], list[SilentDevice]]:
    """All cards that can be asked, in the order of the PCI bus, and the cards that cannot."""
    cards: list[Card] = []
    silent: list[SilentDevice] = []
    with _opened() as start:
        for i, answer in enumerate(_handles(start)):
            parts = [] if answer.value is None else _cards(answer.value, memory)
            cards += parts
            if answer.value is None:
                silent.append(SilentDevice(name=f"NVIDIA GPU {i}", reason=_reason(answer)))
            elif not parts:
                memory_answer = ask("nvmlDeviceGetMemoryInfo", answer.value)
                silent.append(
                    SilentDevice(name=name_of(answer.value), reason=_reason(memory_answer))
                )
    if not cards and not silent and (name := _jetson(board)):
        cards.append(Card(device=_unified(name, memory)))
    return _same_speed_unit(cards), silent


def _hidden(cards: list[Card], shown: list[Card]) -> Iterator[SilentDevice]:
    """The cards that can be asked and that CUDA does not show."""
    shown_ids = {id(card.device) for card in shown}
    for card in cards:
        if id(card.device) not in shown_ids:
            slices = card.parent is not None and any(other.parent for other in shown)
            reason = (
                say("CUDA uses one MIG slice at a time")
                if slices
                else say("hidden by {variable}", variable="CUDA_VISIBLE_DEVICES")
            )
            yield SilentDevice(name=card.device.name, reason=reason, on_purpose=True)


def name_of(handle: object) -> str:
    """The GPU's name as the driver prints it."""
    name = ask("nvmlDeviceGetName", handle).value or "NVIDIA GPU"
    return name.decode() if isinstance(name, bytes) else str(name)


def _cards(handle: object, memory: Memory) -> list[Card]:
    """A card, or the MIG slices of a card. Empty for a card with memory of its own that NVML does
    not tell.
    """
    uuid = _text(ask("nvmlDeviceGetUUID", handle).value)
    mode = ask("nvmlDeviceGetMigMode", handle).value
    if mode and mode[0] == 1:
        return _slices(handle, uuid)
    name = name_of(handle)
    if find_rows(name).is_unified or "nvgpu" in name.lower():
        return [Card(device=_unified(name, memory), uuid=uuid, speed=_speed(handle))]
    info = ask("nvmlDeviceGetMemoryInfo", handle).value
    if info is None or not info.total:
        return _slices(handle, uuid)  # in a container with one slice only the slice may be asked
    return [Card(device=_dedicated(name, info), uuid=uuid, speed=_speed(handle))]


def _slices(handle: object, uuid: str | None) -> list[Card]:
    """The MIG slices of a card whose UUID is `uuid`."""
    cards = []
    for i in range(ask("nvmlDeviceGetMaxMigDeviceCount", handle).value or 0):
        part = ask("nvmlDeviceGetMigDeviceHandleByIndex", handle, i).value
        info = ask("nvmlDeviceGetMemoryInfo", part).value if part is not None else None
        if info is not None and info.total:
            name = name_of(part)
            device = _dedicated(name if "mig" in name.lower() else f"{name} MIG", info)
            part_uuid = _text(ask("nvmlDeviceGetUUID", part).value)
            cards.append(Card(device=device, uuid=part_uuid, parent=uuid or "?"))
    return cards


def _reason(answer: Answer) -> str:
    return answer.reason or say("the driver gives no reason")


def _dedicated(name: str, info: Any) -> Device:
    """A GPU or slice with memory of its own; `info` is NVML's nvmlMemory_t."""
    total = int(info.total)
    return Device(
        name=name,
        vendor="nvidia",
        total_bytes=total,
        free_bytes=int(info.free),
        # a slice has a part of the card's bandwidth, which the catalogue does not know
        bandwidth_gb_s=None if " MIG" in name else known_bandwidth(name, total),
        rates=None if " MIG" in name else known_rates(name, total),
        source="NVML",
    )


def _unified(name: str, memory: Memory) -> Device:
    """A GPU that shares the system's memory."""
    return replace(
        ram_device(memory),
        name=name,
        vendor="nvidia",
        unified=True,
        bandwidth_gb_s=known_bandwidth(name, memory.total_bytes),
        rates=known_rates(name, memory.total_bytes),
        source="/proc/meminfo",
    )


def _jetson(board: Path) -> str | None:
    """The name of a Jetson whose system has no NVML; None elsewhere."""
    name = read_text(board) or ""
    return name if "jetson" in name.lower() else None


def _speed(handle: object) -> float | None:
    """Cores times clock in MHz; None where NVML does not tell both. CUDA's own measure of speed is
    not documented; this one is near enough to rank different cards.
    """
    import pynvml

    cores = ask("nvmlDeviceGetNumGpuCores", handle).value
    clock = ask("nvmlDeviceGetMaxClockInfo", handle, getattr(pynvml, "NVML_CLOCK_SM", 1)).value
    return float(cores * clock) if cores and clock else None


def _same_speed_unit(cards: list[Card]) -> list[Card]:
    """The cards with speeds that can be compared: NVML's figures if all cards have one, else the
    catalogue's for all.
    """
    if all(card.speed is not None for card in cards):
        return cards
    return [replace(card, speed=known_rate(card.device.name)) for card in cards]


def _text(value: object) -> str | None:
    if value is None:
        return None
    return value.decode() if isinstance(value, bytes) else str(value)
