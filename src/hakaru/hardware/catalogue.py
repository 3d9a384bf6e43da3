"""Machines that are not this one, by the names of their accelerators: `2x A100 80GB`, `RTX 4090 + 64GiB RAM`, `24GiB`.

`accelerators.json` holds public specifications with the names of their sources; docs/facts.md tells how they were read.
`reported_mib` is what the driver gives an idle card, where it was seen: error correction takes a sixteenth of an L4.
"""

import json
import re
from collections import Counter
from functools import cache
from importlib.resources import files
from typing import Any, Final

from hakaru.errors import Misuse
from hakaru.hardware.machine import Device, Hardware, Vendor, named_ram
from hakaru.units import parse_bytes

_COUNT: Final = re.compile(r"^\s*(\d{1,3})\s*[x×*]\s*(.+)$", re.IGNORECASE)
_SIZE: Final = re.compile(r"^\d+(?:\.\d+)?\s*[GMT]i?B$", re.IGNORECASE)
_RAM: Final = re.compile(r"^(?:RAM\s+(\S+)|(\S+\s*[GMT]i?B)\s+RAM)$", re.IGNORECASE)
_NOISE: Final = frozenset(
    {"nvidia", "amd", "intel", "apple", "geforce", "radeon", "instinct", "tesla", "gpu", "graphics", "gb", "gib"}
)


def parse_hardware(text: str) -> Hardware:
    """The machine that `text` names: accelerators joined by `+`, each with an optional count in front, and RAM.

    `RTX 4090 + 64GiB` is a card and its machine's RAM, as `RTX 4090 + 64GiB RAM` is; sizes alone, `24GiB + 12GiB`, are
    accelerators; `64GiB RAM` alone is a machine without one. Raises Misuse.
    """
    accelerators: list[Device] = []
    sizes: list[Device] = []
    ram: Device | None = None
    for part in text.split("+"):
        counted = _COUNT.match(part)
        count, name = (int(counted[1]), counted[2].strip()) if counted else (1, part.strip())
        if not 1 <= count <= 64 or not name:
            raise Misuse("--hardware '{found}': expected such as '2x A100 80GB' or 'RTX 4090 + 64GiB RAM'.", found=text)
        if as_ram := _RAM.match(name):
            ram = named_ram(count * parse_bytes(as_ram[1] or as_ram[2]))
        elif _SIZE.match(name):
            sizes += [_sized(name)] * count
        else:
            accelerators += [_device(name)] * count
    if accelerators and len(sizes) == 1 and ram is None:
        ram = named_ram(sizes.pop().total_bytes)
    return Hardware(accelerators=(*accelerators, *sizes), ram=ram)


def known_bandwidth(name: str) -> float | None:
    """Memory bandwidth in GB/s of the accelerator called `name`, if the catalogue knows exactly one such."""
    found = _matching(name)
    bandwidth = {row["bandwidth_gb_s"] for row in found}
    return bandwidth.pop() if len(bandwidth) == 1 else None


def _sized(name: str) -> Device:
    return Device(name=name, vendor="other", total_bytes=parse_bytes(name), free_bytes=None, source="as named")


def _unified(name: str) -> Device | None:
    """`M4 Max 64GB`: a chip whose memory is chosen when it is bought. The driver lets the GPU wire a part of it.

    Source of the part: Metal's recommendedMaxWorkingSetSize, two thirds up to 36 GB and three quarters above; seen in
    logs, so assumed. Apple's GB are GiB.
    """
    sized = re.match(r"^(.*?)[ ,]+(\d+)\s*GI?B?$", name, re.IGNORECASE)
    rows = [row for row in _matching(sized[1]) if not row["memory_gib"]] if sized else []
    if not sized or not rows:
        return None
    total = int(sized[2]) * 2**30
    usable = total * 2 // 3 if total <= 36 * 2**30 else total * 3 // 4
    bandwidths = {row["bandwidth_gb_s"] for row in rows}
    return Device(
        name=f"{rows[0]['name']} {sized[2]}GB",
        vendor=rows[0]["vendor"],
        total_bytes=total,
        free_bytes=usable,
        unified=True,
        bandwidth_gb_s=bandwidths.pop() if len(bandwidths) == 1 else None,
        source=", ".join(rows[0]["sources"]),
    )


def _device(name: str) -> Device:
    found = [row for row in _matching(name) if row["memory_gib"]]
    if not found and (unified := _unified(name)):
        return unified
    if not found:
        raise Misuse("--hardware: no accelerator '{found}' in the catalogue; name its memory instead, such as 24GiB.", found=name)
    sizes = Counter(row["memory_gib"] for row in found).most_common(2)
    if len(sizes) > 1 and sizes[0][1] == sizes[1][1]:
        raise Misuse(
            "--hardware: '{found}' may be {names}; add the memory to the name.",
            found=name,
            names=", ".join(row["name"] for row in found[:5]),
        )
    row = next(row for row in found if row["memory_gib"] == sizes[0][0])
    vendor: Vendor = row["vendor"]
    return Device(
        name=row["name"],
        vendor=vendor,
        total_bytes=int(row["memory_gib"] * 2**30),
        free_bytes=row["reported_mib"] * 2**20 if "reported_mib" in row else None,
        unified=row["kind"] == "unified",
        bandwidth_gb_s=row["bandwidth_gb_s"],
        source=", ".join(row["sources"]),
    )


def _matching(name: str) -> list[dict[str, Any]]:
    """Rows whose words include all words of `name`; if several, those with the fewest further words."""
    wanted = _words(name)
    if not wanted:
        return []
    hits = [(len(words) - len(wanted), row) for row, words in _table() if wanted <= words]
    fewest = min((extra for extra, _ in hits), default=0)
    return [row for extra, row in hits if extra == fewest]


@cache
def _table() -> list[tuple[dict[str, Any], frozenset[str]]]:
    rows = json.loads((files("hakaru.hardware") / "accelerators.json").read_text(encoding="utf-8"))
    return [(row, _words(row["name"]) | _memory_words(row)) for row in rows]


def _memory_words(row: dict[str, Any]) -> frozenset[str]:
    return frozenset({f"{row['memory_gib']:g}"}) if row["memory_gib"] else frozenset()


def _words(name: str) -> frozenset[str]:
    """`NVIDIA A100-SXM4-80GB` to {a100, sxm4, 80}: lower case, units and vendors dropped."""
    text = re.sub(r"(\d)\s*gi?b\b", r"\1", name.lower())
    return frozenset(re.findall(r"[a-z0-9.]+", text)) - _NOISE
