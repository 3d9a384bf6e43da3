"""Accelerators by name, for machines that are not this one: `2x A100 80GB`, `RTX 4090 + L4`, `24GiB`.

`accelerators.json` holds public specifications with the names of their sources; docs/facts.md tells how they were read.
"""

import json
import re
from functools import cache
from importlib.resources import files
from typing import Any, Final

from hakaru.errors import Misuse
from hakaru.hardware.machine import Device, Vendor
from hakaru.units import parse_bytes

_COUNT: Final = re.compile(r"^\s*(\d{1,3})\s*[x×*]\s*(.+)$", re.IGNORECASE)
_SIZE: Final = re.compile(r"^\d+(?:\.\d+)?\s*[GMT]i?B$", re.IGNORECASE)
_NOISE: Final = frozenset(
    {"nvidia", "amd", "intel", "apple", "geforce", "radeon", "instinct", "tesla", "gpu", "graphics", "gb", "gib"}
)


def parse_hardware(text: str) -> tuple[Device, ...]:
    """The devices that `text` names: names or sizes joined by `+`, each with an optional count in front. Raises Misuse."""
    devices: list[Device] = []
    for part in text.split("+"):
        counted = _COUNT.match(part)
        count, name = (int(counted[1]), counted[2].strip()) if counted else (1, part.strip())
        if not 1 <= count <= 64 or not name:
            raise Misuse("--hardware '{found}': expected such as '2x A100 80GB' or 'RTX 4090 + 24GiB'.", found=text)
        devices += [_device(name)] * count
    return tuple(devices)


def known_bandwidth(name: str) -> float | None:
    """Memory bandwidth in GB/s of the accelerator called `name`, if the catalogue knows exactly one such."""
    found = _matching(name)
    bandwidth = {row["bandwidth_gb_s"] for row in found}
    return bandwidth.pop() if len(bandwidth) == 1 else None


def _device(name: str) -> Device:
    if _SIZE.match(name):
        size = parse_bytes(name)
        return Device(name=name, vendor="other", total_bytes=size, free_bytes=None, source="as named")
    found = [row for row in _matching(name) if row["memory_gib"]]
    if not found:
        raise Misuse("--hardware: no accelerator '{found}' in the catalogue; name its memory instead, such as 24GiB.", found=name)
    if len({row["memory_gib"] for row in found}) > 1:
        raise Misuse(
            "--hardware: '{found}' may be {names}; add the memory to the name.",
            found=name,
            names=", ".join(row["name"] for row in found[:5]),
        )
    row = found[0]
    vendor: Vendor = row["vendor"]
    return Device(
        name=row["name"],
        vendor=vendor,
        total_bytes=int(row["memory_gib"] * 2**30),
        free_bytes=None,
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
