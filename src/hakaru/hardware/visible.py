"""Which GPUs a program sees, and in which order: CUDA's and ROCm's environment variables, as their
drivers read them.

NVML and sysfs list every card in the order of the PCI bus. CUDA numbers the fastest card first
unless CUDA_DEVICE_ORDER is PCI_BUS_ID, and llama.cpp's split over several cards (`-ts`) is in
CUDA's order. A list of cards ends at its first invalid entry. Pure. Left out: the variables of
Vulkan and oneAPI, whose loaders number cards in an order of their own.

Sources: CUDA C++ Programming Guide, environment variables; ROCm, GPU isolation techniques.
"""

from collections.abc import Mapping, Sequence

from msgspec import Struct

from hakaru.hardware.machine import Device


class Card(Struct, frozen=True, kw_only=True):
    """A GPU as its driver lists it."""

    device: Device
    uuid: str | None = None
    speed: float | None = None  # CUDA's order, in a unit that all cards of the machine share
    parent: str | None = None  # the UUID of the card that a MIG slice is a part of


def cuda_cards(cards: Sequence[Card], environment: Mapping[str, str]) -> list[Card]:
    """The cards that CUDA shows, in CUDA's order. Of several MIG slices CUDA shows one: the first,
    or the first that CUDA_VISIBLE_DEVICES names.
    """
    ordered = list(cards)
    by_bus = environment.get("CUDA_DEVICE_ORDER") == "PCI_BUS_ID"
    if not by_bus and all(card.speed is not None for card in cards):
        # a stable sort: equal cards stay in the order of the bus
        ordered.sort(key=lambda card: -(card.speed or 0))
    whole = [card for card in ordered if card.parent is None]
    numbered = whole or [card for card in ordered if card.parent][:1]
    listed = environment.get("CUDA_VISIBLE_DEVICES")
    if listed is None:
        return numbered
    chosen = _chosen(listed, numbered, ordered)
    slices = [card for card in chosen if card.parent]
    return slices[:1] if slices else chosen


def rocm_cards(
    cards: Sequence[Card], environment: Mapping[str, str], *, beside_nvidia: bool
) -> list[Card]:
    """The cards that HIP shows. ROCR_VISIBLE_DEVICES chooses first, then HIP_VISIBLE_DEVICES among
    the chosen cards. HIP also obeys CUDA_VISIBLE_DEVICES; in a machine with NVIDIA's cards
    (`beside_nvidia`) that variable is taken to mean NVIDIA's cards.
    """
    chosen = list(cards)
    if (listed := environment.get("ROCR_VISIBLE_DEVICES")) is not None:
        chosen = _chosen(listed, chosen, chosen)
    listed = environment.get("HIP_VISIBLE_DEVICES")
    if listed is None and not beside_nvidia:
        listed = environment.get("CUDA_VISIBLE_DEVICES")
    return chosen if listed is None else _chosen(listed, chosen, chosen)


def _chosen(listed: str, numbered: Sequence[Card], named: Sequence[Card]) -> list[Card]:
    """The cards that the list `listed` names: its numbers are those of `numbered`, its UUIDs those
    of `named`. The list ends at its first entry that names no card, or a card for the second time.
    """
    chosen: list[Card] = []
    for entry in listed.split(","):
        card = _card(entry.strip(), numbered, named)
        if card is None or card in chosen:
            break
        chosen.append(card)
    return chosen


def _card(entry: str, numbered: Sequence[Card], named: Sequence[Card]) -> Card | None:
    """The card that `entry` names: a number, the beginning of a UUID, or the older spelling
    `MIG-GPU-<uuid>/1/0`. None if no card is meant.
    """
    if entry.isdigit():
        return numbered[int(entry)] if int(entry) < len(numbered) else None
    if not entry:
        return None
    matching = [card for card in named if card.uuid and card.uuid.lower().startswith(entry.lower())]
    if not matching and entry.startswith("MIG-GPU-"):
        parent = entry.removeprefix("MIG-").partition("/")[0]
        matching = [card for card in named if card.parent == parent][:1]
    return matching[0] if len(matching) == 1 else None
