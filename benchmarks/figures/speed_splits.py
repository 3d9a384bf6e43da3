"""How often intervals hold on devices that neither the coefficients nor the intervals have seen.

`speed_calibration` judges a device by intervals made without it, and then sets a factor by all such
judgements: its own count of what holds is an estimate from within. Here whole sets of devices are
put away before anything is fitted: a random fifth, five times over, in several shuffles; and every
family of chips in turn. What holds there is what a new card, or a new generation, will meet.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from figures.published_speeds import What
from figures.speed_calibration import Errors, calibrate
from figures.speed_fit import Table, errors, fit, left_out_fits

SHUFFLES: Final = 3
PARTS: Final = 5
FAMILIES: Final = {
    "Pascal and older": "gtx-10|titan-xp|m40|p100",
    "Volta, Turing": "gtx-16|rtx-20|quadro-rtx|nvidia-t4|titan-v|v100",
    "Ada": "rtx-40|l40|ada-gen", "Blackwell": "rtx-50|blackwell|gb10|thor",
    "Hopper": "h100|h200", "Ampere": "nvidia", "CDNA, Vega": "instinct", "RDNA 3.5": "strix",
    "RDNA 4": "9070|r9700", "RDNA 2": "rx-6|v620", "RDNA 3": "amd", "M1": "apple-m1",
    "M2": "apple-m2", "M3": "apple-m3", "M4": "apple-m4", "M5": "apple-m5",
    "Xe2": r"intel-.*(?:-b\d|140v)", "Alchemist": "intel",
}  # fmt: skip
"""Generations of chips by the ids of their products; the first that matches counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """How often the intervals of a route held on devices that were put away."""

    n_devices: int  # times a device was put away
    by_rows: float
    by_devices: float
    width: float  # the mean log of the ends' ratio


def family_of(device: str) -> str:
    """The generation of a product."""
    return next(name for name, words in FAMILIES.items() if re.search(words, device))


def held_in_parts(table: Table, what: What) -> dict[str, Held]:
    """By route, over random fifths of the devices."""
    return _held(table, what, _parts(table))


def held_in_families(table: Table, what: What) -> dict[str, Held]:
    """By route, every family of chips put away as a whole."""
    families = np.array([family_of(device) for device in table.devices])
    each = (set(table.devices[families == name]) for name in sorted(set(families)))
    return _held(table, what, each)


def _parts(table: Table) -> Iterator[set[str]]:
    dice = np.random.default_rng(0)
    devices = sorted(set(table.devices))
    for _ in range(SHUFFLES):
        shuffled = dice.permutation(devices)
        yield from (set(shuffled[i::PARTS]) for i in range(PARTS))


def _held(table: Table, what: What, put_away: Iterator[set[str]]) -> dict[str, Held]:
    judged: dict[str, list[tuple[int, float, float]]] = {}  # rows, part that holds, width
    for devices in put_away:
        away = np.isin(table.devices, sorted(devices))
        rest, test = table.only(~away), table.only(away)
        off, _ = left_out_fits(rest, what)
        intervals = calibrate(Errors.of(rest, off)).intervals
        new = Errors.of(test, errors(test, fit(rest, what)))
        for route in set(new.routes) & intervals.keys():
            for device in set(new.devices[new.routes == route]):
                mine = new.only((new.routes == route) & (new.devices == device))
                low, high = np.array([intervals[route][name] for name in mine.classes]).T
                holds = (low <= mine.ratios) & (mine.ratios <= high)
                judged.setdefault(route, []).append(
                    (len(holds), float(holds.mean()), float((high - low).mean()))
                )
    return {
        route: Held(
            n_devices=len(rows),
            by_rows=sum(n * part for n, part, _ in rows) / sum(n for n, _, _ in rows),
            by_devices=float(np.mean([part for _, part, _ in rows])),
            width=float(np.mean([width for _, _, width in rows])),
        )
        for route, rows in judged.items()
    }
