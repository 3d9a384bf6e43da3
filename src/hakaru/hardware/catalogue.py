"""Machines that are not this one, by the names of their accelerators: `2x A100 80GB`,
`RTX 4090 + 64GiB RAM`, `24GiB`.

`accelerators.json` holds public specifications with the names of their sources; docs/facts.md tells
how they were read. `reported_mib` is what the driver gives an idle card, where it was seen: error
correction takes a sixteenth of an L4. `spelling` cuts a description into parts, `lookup` finds the
row of a name, `unified` says what of a shared memory may be used.
"""

import re
from dataclasses import replace
from typing import Final

from hakaru.errors import Misuse
from hakaru.hardware.lookup import (
    Match,
    Row,
    find_rows,
    is_processor,
    names_with_plus,
    nearest_names,
    table,
)
from hakaru.hardware.machine import Device, Hardware, named_ram
from hakaru.hardware.spelling import Part, names_card_memory, parts_of, sizes_in
from hakaru.hardware.unified import unified_note, unified_share
from hakaru.language import say

MOST_ALIKE: Final = 64
"""Accelerators of one kind that a description may name."""
_NEGATIVE: Final = re.compile(r"(?:^|[+,、])\s*-\d")
_MIG: Final = re.compile(r"\bmig\s*(\d)g\.(\d+)gb\b", re.IGNORECASE)
MIG_PART: Final = 0.95
"""The part of a MIG slice's name that is memory (4,864 MiB of 1g.5gb, 9,728 of 1g.10gb in public
logs); assumed for others.
"""


def parse_hardware(text: str) -> Hardware:
    """The machine that `text` names: accelerators joined by `+`, each with an optional count, and
    RAM.

    `RTX 4090 + 64GiB` is a card and its machine's RAM, as `RTX 4090 + 64GiB RAM` is; sizes alone,
    `24GiB + 12GiB`, are accelerators; `64GiB RAM` alone is a machine without one; behind a chip
    with unified memory a size is that memory's. Raises Misuse.
    """
    parts = parts_of(text, names_with_plus())
    if _NEGATIVE.search(text) or any(
        not 1 <= part.count <= MOST_ALIKE or not part.text for part in parts
    ):
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
            device, told = _device(part)
            accelerators += [device] * part.count
            notes += told
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
        if part.kind == "name" and is_processor(part.text) and not _known(find_rows(part.text))
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
    """Whether the only size without a word is RAM: `beside` something else that computes."""
    kinds = [part.kind for part in sizes]
    return kinds.count("size") == 1 and "ram" not in kinds and (beside or "vram" in kinds)


def known_bandwidth(name: str, total_bytes: int | None = None) -> float | None:
    """Memory bandwidth in GB/s of the accelerator called `name`, if the catalogue knows exactly one
    such; where it knows several, the one with about `total_bytes` of memory.
    """
    rows = find_rows(name).rows
    if total_bytes is not None and len(rows) > 1:
        rows = (
            tuple(
                row
                for row in rows
                if row["memory_gib"] and abs(row["memory_gib"] * 2**30 / total_bytes - 1) < 0.1
            )
            or rows
        )
    bandwidth = {row["bandwidth_gb_s"] for row in rows}
    return bandwidth.pop() if len(bandwidth) == 1 else None


def known_rate(name: str) -> float | None:
    """The FP16 rate of the accelerator called `name` in TFLOP/s, or None: to tell which of several
    cards is the faster one.
    """
    return next((row["fp16_tflops"] for row in find_rows(name).rows if row["fp16_tflops"]), None)


def name_by_pci(number: str, total_bytes: int | None) -> str | None:
    """The name of the accelerator with this vendor and PCI number, such as `amd:0x744c`: of several
    the one with about `total_bytes` of memory, if that is only one.
    """
    rows = [row for row in table() if number in row.get("pci", ())]
    if total_bytes is not None:
        rows = [
            row
            for row in rows
            if row["memory_gib"] and abs(row["memory_gib"] * 2**30 / total_bytes - 1) < 0.1
        ]
    return rows[0]["name"] if len(rows) == 1 else None


def is_unified(name: str) -> bool:
    """Whether the catalogue knows the accelerator called `name`, and that it shares the processor's
    memory.
    """
    rows = find_rows(name).rows
    return bool(rows) and all(row["kind"] == "unified" for row in rows)


def _known(match: Match) -> bool:
    return bool(match.rows or match.other_sizes)


def _counted(part: Part) -> Part:
    """`2 RTX 3090`: a number before a name that is known without it counts."""
    counted = re.match(r"^(\d{1,2})\s+(.+)$", part.text)
    if (
        part.kind == "name"
        and part.count == 1
        and counted
        and not _known(find_rows(part.text, loosely=False))
        and _known(find_rows(counted[2]))
    ):
        return replace(part, text=counted[2], count=int(counted[1]))
    return part


def _whole_names(parts: list[Part]) -> list[Part]:
    """Names of the catalogue, or of processors, that a plus has cut in two (`Pi 500+ (RX 7900 XT)`)
    are put together again.
    """
    whole: list[Part] = []
    for part in parts:
        before = whole[-1] if whole and part.border == "+" else None
        if before and before.kind == part.kind == "name" and not _known(find_rows(before.text)):
            both = f"{before.text} {part.text}"
            if _known(find_rows(both)) or (
                is_processor(before.text) and not _known(find_rows(part.text))
            ):
                whole[-1] = replace(before, text=both)
                continue
        whole.append(part)
    return whole


def _sizes_at_home(parts: list[Part]) -> list[Part]:
    """Sizes beside a chip with unified memory go into its name, and so does a size behind a comma
    that a card of that name has.
    """
    joined: list[Part] = []
    for part in parts:
        before = joined[-1] if joined and joined[-1].kind == "name" else None
        if before and part.kind != "name":
            match = find_rows(before.text)
            unified = bool(match.rows) and all(row["kind"] == "unified" for row in match.rows)
            variant = (
                part.border == ","
                and part.kind == "size"
                and not match.sizes
                and find_rows(f"{before.text} {part.text}").rows
            )
            if (unified and len(match.sizes) < (2 if part.kind == "vram" else 1)) or variant:
                joined[-1] = replace(before, text=f"{before.text} {_times(part)}")
                continue
        joined.append(part)
    return joined


def _times(part: Part) -> str:
    return (
        part.text
        if part.count == 1
        else f"{part.n_bytes * part.count / (2**30 if 'ib' in part.text.lower() else 10**9):g}GB"
    )


def _sized(part: Part) -> Device:
    return Device(
        name=part.text, vendor="other", total_bytes=part.n_bytes, free_bytes=None, source="as named"
    )


def _device(part: Part) -> tuple[Device, list[str]]:
    """The accelerator that a part names, and what is to be said about it. Raises Misuse."""
    if re.fullmatch(r"[\d.]+", part.text) and (
        len(part.text) < 4 or not _known(find_rows(part.text))
    ):
        raise Misuse(
            "`hardware`: '{found}' has no unit; write such as 16GiB, or the name of an "
            "accelerator.",
            found=part.text,
        )
    mig = _MIG.search(part.text)
    match = find_rows(_MIG.sub(" ", part.text))
    if not _known(match) and len(pieces := re.split(r"(?i)\s+(?:with|w/)\s+", part.text)) > 1:
        match = next((found for piece in pieces if _known(found := find_rows(piece))), match)
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
        ), notes
    return _card(row), notes


def _card(row: Row) -> Device:
    reported = row.get("reported_mib")
    return Device(
        name=row["name"],
        vendor=row["vendor"],
        total_bytes=int(row["memory_gib"] * 2**30),
        free_bytes=reported * 2**20 if reported else None,
        bandwidth_gb_s=row["bandwidth_gb_s"],
        source=", ".join(row["sources"]),
    )


def _unified(row: Row, match: Match, name: str, notes: list[str]) -> tuple[Device, list[str]]:
    """A chip with its memory: of two sizes in its name, the smaller one is what somebody set for
    the GPU.
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
        source=f"{', '.join(row['sources'])}; {share.why}",
        label_gib=sold,
    )
    return device, [*notes, unified_note(title, share, sold)]


def _one_row(name: str, match: Match) -> tuple[Row, list[str]]:
    """The row that a name means, and what is to be said: of several memory sizes the usual one is
    taken. Raises Misuse.
    """
    if not _known(match):
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
            names=", ".join(nearest),
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
            names=", ".join(row["name"] for row in rows[:5]),
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
