"""NVIDIA's GPUs through NVML, its driver's library for monitoring.

Each card is asked by itself: one that has fallen off the bus, or does not tell its memory, hides no
other. Boards whose GPU shares the processor's memory (GB10, Jetson) have none of their own to tell;
theirs is the system's. A card with MIG is its slices. What cannot be asked is told as such, never
dropped.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

from hakaru.hardware.catalogue import is_unified, known_bandwidth, known_rate
from hakaru.hardware.machine import Device, Memory, SilentDevice
from hakaru.hardware.processor import memory as system_memory
from hakaru.hardware.visible import Card, cuda_cards
from hakaru.language import say

NO_DRIVER: Final = ("NVMLError_LibraryNotFound", "NVMLError_DriverNotLoaded", "AttributeError")
"""NVML's errors at its start that mean: there is no NVIDIA driver. Any other error hides cards."""
BOARD: Final = Path("/proc/device-tree/model")
"""Where Linux tells the name of a board, such as `NVIDIA Jetson AGX Orin Developer Kit`."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What NVML answered to one question."""

    value: Any = None
    reason: str | None = None  # why there is no value
    error: str = ""  # the name of NVML's error


def ask(function: str, *arguments: object) -> Answer:
    """One question to NVML. A function that an older driver or library does not have gives an
    answer without a value, too.
    """
    import pynvml

    try:
        return Answer(getattr(pynvml, function)(*arguments))
    except (pynvml.NVMLError, AttributeError) as error:
        return Answer(reason=str(error) or type(error).__name__, error=type(error).__name__)


@contextmanager
def nvml() -> Iterator[list[Any]]:
    """The handles of the NVIDIA GPUs that can be asked; none without a driver. An error of NVML's
    ends the block, and is not raised.
    """
    import pynvml

    with _opened() as start:
        handles = [answer.value for answer in _handles(start)]
        with suppress(pynvml.NVMLError):
            yield [handle for handle in handles if handle is not None]


@contextmanager
def _opened() -> Iterator[Answer]:
    """NVML's answer to its start; NVML is shut down at the end of the block."""
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
    return (
        [count]
        if count.reason is not None
        else [ask("nvmlDeviceGetHandleByIndex", i) for i in range(count.value)]
    )


def scan(
    memory: Memory, environment: Mapping[str, str] = os.environ, board: Path = BOARD
) -> tuple[list[Device], list[SilentDevice]]:
    """The GPUs that CUDA shows, in CUDA's order and with their free memory now; then the GPUs that
    cannot be asked, or that are hidden.
    """
    cards, silent = _everything(memory, board)
    shown = cuda_cards(cards, environment)
    return [card.device for card in shown], [*silent, *_hidden(cards, shown)]


@cache
def pinned_order() -> dict[str, str]:
    """The environment in which CUDA numbers the cards as `scan` does: all of them by UUID. Empty
    where all cards are alike, since then no order is wrong, and where a card has no UUID.
    """
    cards, _ = _everything(system_memory(), BOARD)
    shown = cuda_cards(cards, os.environ)
    if len({card.device.name for card in shown}) < 2 or not all(card.uuid for card in shown):
        return {}
    return {"CUDA_VISIBLE_DEVICES": ",".join(str(card.uuid) for card in shown)}


def _everything(memory: Memory, board: Path) -> tuple[list[Card], list[SilentDevice]]:
    """All cards that can be asked, in the order of the PCI bus, and those that cannot."""
    cards: list[Card] = []
    silent: list[SilentDevice] = []
    with _opened() as start:
        for i, answer in enumerate(_handles(start)):
            if answer.value is None:
                silent.append(
                    SilentDevice(
                        name=f"NVIDIA GPU {i}",
                        reason=answer.reason or say("the driver gives no reason"),
                    )
                )
                continue
            found = _cards(answer.value, memory)
            cards += found
            if not found:
                silent.append(
                    SilentDevice(name=name_of(answer.value), reason=_why_silent(answer.value))
                )
    if not cards and not silent and (name := _jetson(board)):
        cards.append(Card(device=_unified(name, memory)))
    return _same_speed_unit(cards), silent


def _hidden(cards: list[Card], shown: list[Card]) -> Iterator[SilentDevice]:
    """The cards that can be asked and that CUDA does not show."""
    seen = {id(card.device) for card in shown}
    for card in cards:
        if id(card.device) not in seen:
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
    """A card, or its MIG slices; nothing where NVML does not tell the memory of a card that has its
    own.
    """
    uuid = _text(ask("nvmlDeviceGetUUID", handle).value)
    mode = ask("nvmlDeviceGetMigMode", handle).value
    if mode and mode[0] == 1:
        return _slices(handle, uuid)
    name = name_of(handle)
    if is_unified(name) or "nvgpu" in name.lower():
        return [Card(device=_unified(name, memory), uuid=uuid, speed=_speed(handle))]
    told = ask("nvmlDeviceGetMemoryInfo", handle).value
    if told is None or not told.total:
        return _slices(handle, uuid)  # in a container with one slice only the slice may be asked
    return [Card(device=_own(name, told), uuid=uuid, speed=_speed(handle))]


def _slices(handle: object, uuid: str | None) -> list[Card]:
    cards = []
    for i in range(ask("nvmlDeviceGetMaxMigDeviceCount", handle).value or 0):
        part = ask("nvmlDeviceGetMigDeviceHandleByIndex", handle, i).value
        told = ask("nvmlDeviceGetMemoryInfo", part).value if part is not None else None
        if told is not None and told.total:
            name = name_of(part)
            device = _own(name if "mig" in name.lower() else f"{name} MIG", told)
            cards.append(
                Card(
                    device=device,
                    uuid=_text(ask("nvmlDeviceGetUUID", part).value),
                    parent=uuid or "?",
                )
            )
    return cards


def _why_silent(handle: object) -> str:
    return ask("nvmlDeviceGetMemoryInfo", handle).reason or say("the driver gives no reason")


def _own(name: str, told: Any) -> Device:
    total = int(told.total)
    return Device(
        name=name,
        vendor="nvidia",
        total_bytes=total,
        free_bytes=int(told.free),
        bandwidth_gb_s=None
        if " MIG" in name
        else known_bandwidth(name, total),  # a slice has a part of its card's
        source="NVML",
    )


def _unified(name: str, memory: Memory) -> Device:
    total = min(memory.total_bytes, memory.limit_bytes or memory.total_bytes)
    return Device(
        name=name,
        vendor="nvidia",
        total_bytes=total,
        free_bytes=memory.available_bytes,
        unified=True,
        bandwidth_gb_s=known_bandwidth(name, memory.total_bytes),
        source="/proc/meminfo",
    )


def _jetson(board: Path) -> str | None:
    """The name of a Jetson whose system has no NVML; None elsewhere."""
    try:
        name = board.read_text().strip("\0 \n")
    except (OSError, UnicodeDecodeError):
        return None
    return name if "jetson" in name.lower() else None


def _speed(handle: object) -> float | None:
    """What CUDA ranks cards by is not documented; cores times clock is near enough to tell
    different cards apart.
    """
    import pynvml

    cores = ask("nvmlDeviceGetNumGpuCores", handle).value
    clock = ask("nvmlDeviceGetMaxClockInfo", handle, getattr(pynvml, "NVML_CLOCK_SM", 1)).value
    return float(cores * clock) if cores and clock else None


def _same_speed_unit(cards: list[Card]) -> list[Card]:
    """All cards by NVML's figures; or, where one has none, all by the catalogue's, as far as it
    knows each.
    """
    if all(card.speed is not None for card in cards):
        return cards
    return [
        Card(device=c.device, uuid=c.uuid, parent=c.parent, speed=known_rate(c.device.name))
        for c in cards
    ]


def _text(value: object) -> str | None:
    if value is None:
        return None
    return value.decode() if isinstance(value, bytes) else str(value)
