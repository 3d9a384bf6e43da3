"""How often intervals hold on devices that neither the coefficients nor the intervals have seen.

`speed_calibration` judges a device by intervals made without it, but from errors under coefficients
that saw it. Here devices are put away before anything is fitted: each alone; a random half, twenty
times; a random fifth, in several shuffles of five; and every family of chips in turn. What holds
there is what a new card, or a new generation, will meet.

A count of what holds has an error of its own, which is larger than the number of rows lets hope:
rows of one device lie inside or outside together. `chance` tells that of a true 90 % if they always
do.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Final

import numpy as np
from msgspec import Struct

from figures.published_speeds import What
from figures.speed_calibration import HOLDS, Errors, Names, effective, held, intervals_of
from figures.speed_fit import Table, Vector, errors, fit, left_out_fits
from figures.speed_unsure import directions, unsure

HALVES: Final = 20
SHUFFLES: Final = 3
FIFTHS: Final = 5
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


class Held(Struct, frozen=True, kw_only=True):
    """How often intervals held, on devices that were put away or left out."""

    n_devices: int  # times a device was judged
    by_rows: float
    by_devices: float  # every device counts the same
    width: float  # the mean log of the ends' ratio, every device the same


def chance(devices: Names) -> tuple[float, float]:
    """What a true 90 % is off by chance, counted by rows and by devices, if the rows of a device
    hold all or none: one standard deviation.
    """
    spread = np.sqrt(HOLDS * (1 - HOLDS))
    by_rows = effective(devices, np.ones(len(devices)))
    return float(spread / np.sqrt(by_rows)), float(spread / np.sqrt(len(set(devices))))


def held_by(devices: Names, holds: Iterable[bool], widths: Vector) -> Held:
    """The counts of rows that hold or do not."""
    inside = np.array(list(holds), float)
    each = [devices == device for device in sorted(set(devices))]
    return Held(
        n_devices=len(each),
        by_rows=float(inside.mean()),
        by_devices=float(np.mean([inside[mine].mean() for mine in each])),
        width=float(np.mean([widths[mine].mean() for mine in each])),
    )


def family_of(device: str) -> str:
    """The generation of a product."""
    return next(name for name, words in FAMILIES.items() if re.search(words, device))


def held_alone(table: Table, what: What) -> dict[str, Held]:
    """By route, every device put away alone."""
    return _held(table, what, ({device} for device in sorted(set(table.devices))))


def held_in_halves(table: Table, what: What) -> dict[str, Held]:
    """By route, over random halves of the devices: fitted to one, judged on the other."""
    return _held(table, what, _parts(table, HALVES, 2, most=1))


def held_in_fifths(table: Table, what: What) -> dict[str, Held]:
    """By route, over random fifths of the devices."""
    return _held(table, what, _parts(table, SHUFFLES, FIFTHS, most=FIFTHS))


def held_in_families(table: Table, what: What) -> dict[str, Held]:
    """By route, every family of chips put away as a whole."""
    families = np.array([family_of(device) for device in table.devices])
    each = (set(table.devices[families == name]) for name in sorted(set(families)))
    return _held(table, what, each)


def _parts(table: Table, shuffles: int, parts: int, *, most: int) -> Iterator[set[str]]:
    """The first `most` of so many equal parts of the devices, in so many shuffles."""
    dice = np.random.default_rng(0)
    devices = sorted(set(table.devices))
    for _ in range(shuffles):
        shuffled = dice.permutation(devices)
        yield from (set(shuffled[i::parts]) for i in range(most))


def _held(table: Table, what: What, put_away: Iterable[set[str]]) -> dict[str, Held]:
    judged: dict[str, list[tuple[int, float, float]]] = {}  # rows, part that holds, width
    for devices in put_away:
        away = np.isin(table.devices, sorted(devices))
        rest, test = table.only(~away), table.only(away)
        off, without = left_out_fits(rest, what)
        found = directions(rest, what, without)
        intervals = intervals_of(Errors.of(rest, off, unsure(rest, off, found)))
        off = errors(test, fit(rest, what))
        new = Errors.of(test, off, unsure(test, off, found))
        for route in set(new.routes) & intervals.keys():
            for device in set(new.devices[new.routes == route]):
                mine = new.only((new.routes == route) & (new.devices == device))
                low, high = intervals[route].ends(mine.unsure)
                part = float(held(mine, intervals[route]).mean())
                judged.setdefault(route, []).append(
                    (len(mine.ratios), part, float((high - low).mean()))
                )
    judged[""] = [device for route in judged.values() for device in route]
    return {
        route: Held(
            n_devices=len(rows),
            by_rows=sum(n * part for n, part, _ in rows) / sum(n for n, _, _ in rows),
            by_devices=float(np.mean([part for _, part, _ in rows])),
            width=float(np.mean([width for _, _, width in rows])),
        )
        for route, rows in judged.items()
    }
