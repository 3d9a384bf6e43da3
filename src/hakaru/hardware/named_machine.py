"""Machines that are not this one, by the names of their accelerators: `2x A100 80GB`,
`RTX 4090 + 64GiB RAM`, `24GiB`.

`accelerators.json` holds public specifications with the names of their sources; docs/facts.md tells
how they were read. `reported_mib` is the memory that the driver of an idle card reports, where that
was seen: error correction takes a sixteenth of an L4. `spelling` cuts a description into parts,
`lookup` finds the row of a name, `unified` tells how much of a shared memory a model may take.
"""

import re
from typing import Final

from msgspec.structs import replace

from hakaru.errors import Misuse
from hakaru.hardware.described import Part, names_card_memory, parts_of
from hakaru.hardware.facts import rates_of
from hakaru.hardware.lookup import (
    Match,
    Row,
    find_rows,
    is_processor,
    names_with_plus,
    nearest_names,
)
from hakaru.hardware.machine import Device, Hardware, named_ram
from hakaru.hardware.spelling import fold, sizes_in
from hakaru.hardware.unified import unified_note, unified_share
from hakaru.language import listed, say

MOST_DEVICES: Final = 16
"""Accelerators that one process of llama.cpp uses. Source: llama.cpp, llama_max_devices."""
_LARGE_COUNT: Final = re.compile(
    r"(?:^|[+,;、&]|\band\b|と)\s*\d{3,}\s*[x*]\s+(?=[a-z])"
    r"|\s[x*]\s*\d{3,}\s*(?:$|[+,;、&])|\d{3,}\s*[枚台基]",
    re.IGNORECASE,
)
"""A count of three digits or more, as in `100x H100` and `H100 x100`; `7900 XT` has none."""
_NEGATIVE: Final = re.compile(r"(?:^|[+,、])\s*-\d")
_MIG: Final = re.compile(r"\bmig\s*(\d)g\.(\d+)gb\b", re.IGNORECASE)
MIG_PART: Final = 0.95
"""The part of the size in a MIG slice's name that is memory: 4,864 MiB of 1g.5gb and 9,728 of
1g.10gb in public logs; assumed for other slices.
"""


def parse_hardware(text: str) -> Hardware:
    """The machine that `text` names: accelerators joined by `+`, each with an optional count, and
    RAM.

    Raises Misuse. Examples of how a size is read:

    - `RTX 4090 + 64GiB`, `RTX 4090 + 64GiB RAM`: a card, and RAM.
    - `24GiB + 12GiB`: two accelerators.
    - `64GiB RAM`: a machine without an accelerator.
    - `M4 Max + 64GB`: a chip with a unified memory of that size.
    """
    parts = parts_of(text, names_with_plus())
    n_named = sum(part.count for part in parts if part.kind != "ram")
    if _LARGE_COUNT.search(fold(text)) or n_named > MOST_DEVICES:
        raise Misuse(
            "`hardware` '{found}': llama.cpp uses at most {most} accelerators.",
            found=text,
            most=MOST_DEVICES,
        )
    if _NEGATIVE.search(text) or any(not part.count or not part.text for part in parts):
        raise Misuse(
            "`hardware` '{found}': expected such as '2x A100 80GB' or 'RTX 4090 + 64GiB RAM'.",
            found=text,
        )
    parts, has_processor = _without_processors(
        _sizes_at_home(_whole_names([_counted(part) for part in parts]))
    )
    accelerators: list[Device] = []
    notes: list[str] = []
    for part in parts:
        if part.kind == "name":
            device, part_notes = _device(part)
            accelerators += [device] * part.count
            notes += part_notes
    if len(shared := [device.name for device in accelerators if device.unified]) > 1:
        notes.append(
            say(
                "{names}: chips with a memory of their own are as many machines, which llama.cpp "
                "joins only over a network; that is not in this plan.",
                names=" + ".join(shared),
            )
        )
    sizes = [part for part in parts if part.kind != "name"]
    if _names_ram(sizes, beside=bool(accelerators) or has_processor):
        sizes = [replace(part, kind="ram") if part.kind == "size" else part for part in sizes]
    accelerators += [
        _sized(part) for part in sizes if part.kind != "ram" for _ in range(part.count)
    ]
    ram = sum(part.count * part.n_bytes for part in sizes if part.kind == "ram")
    return Hardware(
        accelerators=tuple(accelerators),
        ram=named_ram(ram) if ram else None,
        notes=tuple(dict.fromkeys(notes)),
    )


def _without_processors(parts: list[Part]) -> tuple[list[Part], bool]:
    """The parts without processors, which have no memory of their own, and whether there were any.
    A size beside a processor's name is RAM. A processor that is named alone stays.
    """
    processors = [
        part
        for part in parts
        if part.kind == "name" and is_processor(part.text) and not find_rows(part.text).is_known
    ]
    beside = [
        Part(kind="ram", text=f"{size:g}GB")
        for part in processors
        for size in sizes_in(part.text)[0]
    ]
    if len(processors) < len(parts + beside):
        parts = [part for part in parts if part not in processors] + beside
    return parts, bool(processors)


def _names_ram(sizes: list[Part], *, beside: bool) -> bool:
    """True if the only size without a word for its kind is RAM. So it is `beside` anything that
    computes.
    """
    kinds = [part.kind for part in sizes]
    return kinds.count("size") == 1 and "ram" not in kinds and (beside or "vram" in kinds)


def _counted(part: Part) -> Part:
    """The part with the count in `2 RTX 3090`: a number is a count if the catalogue has the name
    without the number, and not the whole.
    """
    counted = re.match(r"^(\d{1,2})\s+(.+)$", part.text)
    if (
        part.kind == "name"
        and part.count == 1
        and counted
        and not find_rows(part.text, loosely=False).is_known
        and find_rows(counted[2]).is_known
    ):
        return replace(part, text=counted[2], count=int(counted[1]))
    return part


def _whole_names(parts: list[Part]) -> list[Part]:
    """The parts, where names that a plus has cut in two (`Pi 500+ (RX 7900 XT)`) are one part
    again.
    """
    whole: list[Part] = []
    for part in parts:
        before = whole[-1] if whole and part.border == "+" else None
        if before and before.kind == part.kind == "name" and not find_rows(before.text).is_known:
            both = f"{before.text} {part.text}"
            if find_rows(both).is_known or (
                is_processor(before.text) and not find_rows(part.text).is_known
            ):
                whole[-1] = replace(before, text=both)
                continue
        whole.append(part)
    return whole


def _sizes_at_home(parts: list[Part]) -> list[Part]:
    """The parts, where a size has joined the name before it: the size of a unified memory, and
    behind a comma, the size of a card that is sold with it.
    """
    joined: list[Part] = []
    for part in parts:
        before = joined[-1] if joined and joined[-1].kind == "name" else None
        if before and part.kind != "name":
            match = find_rows(before.text)
            variant = (
                part.border == ","
                and part.kind == "size"
                and not match.sizes
                and find_rows(f"{before.text} {part.text}").rows
            )
            most_sizes = 2 if part.kind == "vram" else 1
            if (match.is_unified and len(match.sizes) < most_sizes) or variant:
                joined[-1] = replace(before, text=f"{before.text} {_times(part)}")
                continue
        joined.append(part)
    return joined


def _times(part: Part) -> str:
    """The size of all pieces of a part together, such as `32GB` for two of 16GB."""
    if part.count == 1:
        return part.text
    unit_bytes = 2**30 if "ib" in part.text.lower() else 10**9
    return f"{part.n_bytes * part.count / unit_bytes:g}GB"


def _sized(part: Part) -> Device:
    return Device(
        name=part.text, vendor="other", total_bytes=part.n_bytes, free_bytes=None, source="as named"
    )


def _device(part: Part) -> tuple[Device, list[str]]:
    """The accelerator that a part names, and notes on how the name was read. Raises Misuse."""
    if re.fullmatch(r"[\d.]+", part.text) and (
        len(part.text) < 4 or not find_rows(part.text).is_known
    ):
        raise Misuse(
            "`hardware`: '{found}' has no unit; write such as 16GiB, or the name of an "
            "accelerator.",
            found=part.text,
        )
    mig = _MIG.search(part.text)
    match = find_rows(_MIG.sub(" ", part.text))
    if not match.is_known and len(pieces := re.split(r"(?i)\s+(?:with|w/)\s+", part.text)) > 1:
        by_piece = (find_rows(piece) for piece in pieces)
        match = next((candidate for candidate in by_piece if candidate.is_known), match)
    row, notes = _one_row(part.text, match)
    if row["kind"] == "unified":
        return _unified(row, match, part.text, notes)
    if mig:
        n_bytes = int(int(mig[2]) * 2**30 * MIG_PART)
        notes = [
            say(
                "{name}: a slice of {size} GB, of which about {part:.0%} can be used (assumed).",
                name=row["name"],
                size=mig[2],
                part=MIG_PART,
            )
        ]
        return replace(
            _card(row),
            name=f"{row['name']} MIG {mig[1]}g.{mig[2]}gb",
            total_bytes=n_bytes,
            label_gib=float(mig[2]),
            bandwidth_gb_s=None,  # a slice has a part of the card's, which is not known
            rates=None,
        ), notes
    return _card(row), notes


def device_of(row: Row, sold_gib: float) -> Device:
    """The accelerator in a row of the catalogue; of a unified memory, with the size that it is sold
    with.
    """
    if row["kind"] != "unified":
        return _card(row)
    match = Match(rows=(row,), sizes=(sold_gib,))
    return _unified(row, match, row["name"], [])[0]


def _card(row: Row) -> Device:
    reported = row.get("reported_mib")
    return Device(
        name=row["name"],
        vendor=row["vendor"],
        total_bytes=int(row["memory_gib"] * 2**30),
        free_bytes=reported * 2**20 if reported else None,
        bandwidth_gb_s=row["bandwidth_gb_s"],
        rates=rates_of(row),
        source=listed(row["sources"]),
    )


def _unified(row: Row, match: Match, name: str, notes: list[str]) -> tuple[Device, list[str]]:
    """A chip with a unified memory, and notes. Of two sizes in the name, the smaller is the part
    that a person set for the GPU.
    """
    sold = max(match.sizes, default=row["memory_gib"])
    if sold is None:
        raise Misuse(
            "`hardware`: '{found}' is sold with memories of several sizes; add yours, such as "
            "'{example} 64GB'.",
            found=name,
            example=name,
        )
    if row["memory_gib"] and not row.get("shares_ram"):
        sold = row["memory_gib"]
    elif not match.sizes:
        notes = [
            say(
                "{name}: taken with {size:g} GB, its largest memory; add the size for another.",
                name=row["name"],
                size=sold,
            )
        ]
    by_hand = None
    if match.sizes and row.get("shares_ram") and (len(match.sizes) > 1 or names_card_memory(name)):
        by_hand = int(min(match.sizes) * 2**30)
        sold = max(sold, row["memory_gib"] or 0)
    share = unified_share(row, sold, by_hand)
    title = row["name"] if row["memory_gib"] == sold else f"{row['name']} {sold:g}GB"
    device = Device(
        name=title,
        vendor=row["vendor"],
        total_bytes=share.total_bytes,
        free_bytes=share.usable_bytes,
        unified=True,
        bandwidth_gb_s=row["bandwidth_gb_s"],
        rates=rates_of(row).of_part(_part_of_cores(row, name)),
        source=f"{', '.join(row['sources'])}; {share.why}",
        label_gib=sold,
    )
    return device, [*notes, unified_note(title, share, sold)]


def _part_of_cores(row: Row, name: str) -> float:
    """The part of a chip's GPU cores that a name such as `M2 Max 30-core GPU` or `M2 Max (30c GPU)`
    tells; 1 where it tells none, or a number that is not sold.
    """
    sold = row.get("gpu_cores", [])
    told = re.search(r"(?i)(\d+)\s*-?\s*c(?:ores?)?\s*-?\s*gpu", name)
    return int(told[1]) / max(sold) if told and int(told[1]) in sold else 1.0


def _one_row(name: str, match: Match) -> tuple[Row, list[str]]:
    """The row that a name means, and notes. If the product is sold with several memories, the usual
    one is taken. Raises Misuse.
    """
    if not match.is_known:
        nearest = nearest_names(name)
        if not nearest:
            raise Misuse(
                "`hardware`: no accelerator '{found}' in the catalogue; name its memory instead, "
                "such as 24GiB.",
                found=name,
            )
        raise Misuse(
            "`hardware`: no accelerator '{found}' in the catalogue; the nearest names are "
            "{names}. Or name its memory, such as 24GiB.",
            found=name,
            names=listed(nearest),
        )
    if not match.rows:
        raise Misuse(
            "`hardware`: '{found}' is known with {known:g} GB, not with {size:g} GB; name the "
            "memory alone, such as {size:g}GiB.",
            found=name,
            known=match.other_sizes[0]["memory_gib"] or 0,
            size=match.sizes[0],
        )
    rows = tuple(row for row in match.rows if match.sizes or not row.get("rebuilt"))
    if len({row["memory_gib"] for row in rows}) == 1:
        return rows[0], []
    if "/" in name:  # several products in one name: what the smallest can do, all can
        row = min(rows, key=lambda row: row["memory_gib"] or 0)
        return row, [
            say(
                "{found} may be several products; taken as the smallest, {name}.",
                found=name,
                name=row["name"],
            )
        ]
    usual = [row for row in rows if row.get("usual")]
    if len({row["memory_gib"] for row in usual}) != 1:
        raise Misuse(
            "`hardware`: '{found}' may be {names}; add the memory, or more of the name.",
            found=name,
            names=listed(row["name"] for row in rows[:5]),
        )
    other = next(row for row in rows if row["memory_gib"] != usual[0]["memory_gib"])
    sentence = say(
        "{name}: taken as the one with {size:g} GB; write '{name} {other:g}GB' for the other.",
        name=_short(usual[0]),
        size=usual[0]["memory_gib"],
        other=other["memory_gib"],
    )
    return usual[0], [sentence]


def _short(row: Row) -> str:
    """A row's name as people type it: `RTX 3060`."""
    name = re.sub(
        r"^(?:NVIDIA|AMD|Intel|Apple)\s+(?:GeForce|Radeon|Instinct|Tesla)?\s*", "", row["name"]
    )
    return re.sub(r"\s+", " ", sizes_in(name)[1]).strip()
