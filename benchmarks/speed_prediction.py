"""How wrong predicted speeds are, on devices that the prediction has never seen.

`python benchmarks/speed_prediction.py FACTS` reads published speeds from FACTS (a table as
docs/speed.md describes it), fits the coefficients without one device at a time, predicts that
device, and prints errors and coverage by route, beside peers' formulas on the same rows. With
`--write` it fits to all rows and writes src/hakaru/planning/speed.json and the rows that the tests
carry. The same table gives the same file.
"""

import argparse
import csv
import json
import re
import sys
from collections import Counter
from pathlib import Path
from typing import Any, Final

import numpy as np

from figures.published_speeds import LeftOut, Published, What, published, read_speeds
from figures.speed_calibration import Calibration, Errors, calibrate
from figures.speed_fit import Table, Vector, fit, left_out_fits, table_of
from figures.speed_peers import FORMULAS
from figures.speed_splits import (
    Held,
    chance,
    family_of,
    held_alone,
    held_by,
    held_in_families,
    held_in_fifths,
    held_in_halves,
)
from figures.speed_unsure import Directions, directions, triangle, unsure

CARRIED: Final = Path(__file__).parent / "figures" / "published_speeds.csv"
COEFFICIENTS: Final = Path(__file__).parent.parent / "src/hakaru/planning/speed.json"
DEEP: Final = 2048
"""Tokens of context from which a depth counts as deep."""


def main() -> int:
    """Print the tables; with `--write` also write the coefficients."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("facts", type=Path, help="the table of published speeds, a CSV file")
    parser.add_argument("--write", action="store_true", help="write the coefficients")
    parser.add_argument(
        "--splits", action="store_true", help="also put devices away before fitting (half an hour)"
    )
    options = parser.parse_args()
    if not options.facts.is_file():
        print(f"skipped: no table of published speeds at {options.facts}")
        return 0
    rows = list(read_speeds(options.facts))
    speeds = [row for row in rows if isinstance(row, Published)]
    left_out = Counter(row.reason for row in rows if isinstance(row, LeftOut))
    print(f"{len(rows)} rows, {len(speeds)} used; left out:")
    for reason, n in left_out.most_common():
        print(f"  {n:5} {reason}")
    fitted: dict[str, Any] = {
        "from": {
            "rows": len(rows),
            "used": len(speeds),
            "left_out": dict(sorted(left_out.items())),
            "sources": sources(speeds),
        }
    }
    for what in ("decode", "prefill"):
        table = table_of(speeds, what)
        off, each = left_out_fits(table, what)
        found = directions(table, what, each)
        table_errors = Errors.of(table, off, unsure(table, off, found))
        calibration = calibrate(table_errors)
        report(table, table_errors, calibration, what)
        report_families(table, off, calibration)
        if options.splits:
            report_splits("one device", held_alone(table, what))
            report_splits("a random half of the devices", held_in_halves(table, what))
            report_splits("a random fifth of the devices", held_in_fifths(table, what))
            report_splits("a whole family", held_in_families(table, what))
        if what == "decode":
            report_peers(table, off)
        fitted[what] = routes_json(table, table_errors, each, found, calibration, what)
    if options.write:
        COEFFICIENTS.write_text(_json(fitted), encoding="utf-8")
        carry(options.facts)
        print(f"written: {COEFFICIENTS}, {CARRIED}")
    return 0


def carry(facts: Path) -> None:
    """Write the rows that the tests read: of each device under an open licence the first decode
    and the first prefill of every depth.
    """
    with facts.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    chosen: dict[tuple[object, ...], dict[str, str]] = {}
    for row in rows:
        speed = published(row)
        if isinstance(speed, Published) and speed.may_be_carried:
            deep = speed.depth >= DEEP
            chosen.setdefault((speed.device, speed.n_devices, speed.route, speed.what, deep), row)
    with CARRIED.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(chosen.values())


def sources(speeds: list[Published]) -> dict[str, int]:
    """How many speeds each source gave, by its name alone."""
    return dict(sorted(Counter(source_name(speed.source) for speed in speeds).items()))


def source_name(source: str) -> str:
    """A repository at a commit, a discussion, or the site, of what a row says of its source."""
    repository = re.match(r"[\w.-]+/[\w.-]+@\w+", source)
    issue = re.match(r"https://github\.com/([\w.-]+/[\w.-]+)", source)
    if repository or issue:
        return repository[0] if repository else f"{issue[1]} (issues)" if issue else ""
    return re.split(r" build|,| \(|: ", source)[0]


def report(table: Table, errors: Errors, calibration: Calibration, what: What) -> None:
    """Errors and coverage by route, and by class of work."""
    error = np.abs(np.expm1(-errors.ratios))
    low, high = _ends(errors, calibration)
    experts = np.array([row.work.n_expert > 0 for row in table.rows])
    deep = np.array([row.depth >= DEEP for row in table.rows])
    print(f"\n{what}, one device left out at a time; +/-: of a true 90 %, by chance")
    print(
        f"  {'':22}{'speeds':>7}{'devices':>8}{'median':>8}{'90 % in':>8}{'holds':>7} +/-"
        f"{'devices':>9} +/-{'usual width':>14}"
    )
    for route in ["", *sorted(set(table.routes))]:
        mine = (table.routes == route) if route else np.ones(len(error), bool)
        for name, part in (
            ("", mine),
            ("dense", mine & ~experts & ~deep),
            ("dense, deep", mine & ~experts & deep),
            ("experts", mine & experts & ~deep),
            ("experts, deep", mine & experts & deep),
        ):
            if not part.any():
                continue
            devices = table.devices[part]
            held = held_by(devices, calibration.holds[part], (high - low)[part])
            by_rows, by_devices = chance(devices)
            title = f"  {name}" if name else route or "all"
            print(
                f"  {title:22}{part.sum():7}{held.n_devices:8}"
                f"{np.median(error[part]):8.1%}{np.quantile(error[part], 0.9):8.1%}"
                f"{held.by_rows:7.0%}{by_rows:4.0%}{held.by_devices:9.0%}{by_devices:4.0%}"
                f"{np.expm1(np.median(low[part])):+8.0%}{np.expm1(np.median(high[part])):+6.0%}"
            )


def report_families(table: Table, off: Vector, calibration: Calibration) -> None:
    """Errors and coverage by route and generation of chips."""
    error = np.abs(np.expm1(off))
    families = np.array([family_of(device) for device in table.devices])
    print("\nby generation of chips")
    for route, family in sorted(set(zip(table.routes, families, strict=True))):
        mine = (table.routes == route) & (families == family)
        held = held_by(table.devices[mine], calibration.holds[mine], error[mine])
        print(
            f"  {route:14}{family:18}{mine.sum():5} speeds{held.n_devices:4} devices"
            f"{np.median(error[mine]):8.1%}{held.by_rows:7.0%}{held.by_devices:7.0%}"
        )


def report_splits(title: str, held: dict[str, Held]) -> None:
    """How often intervals held on what was put away before anything was fitted."""
    print(f"\nwhere {title} was put away: holds by speeds, by devices, width")
    for route, one in sorted(held.items()):
        print(
            f"  {route or 'all':14}{one.n_devices:4} times a device"
            f"{one.by_rows:7.0%}{one.by_devices:7.0%}   x{np.exp(one.width):.2f}",
            flush=True,
        )


def report_peers(table: Table, off: Vector) -> None:
    """Our errors beside those of peers' formulas on the same rows."""
    measured = np.array([row.tokens_per_s for row in table.rows])
    ours = {"hakaru (left out)": np.abs(np.expm1(off))}
    theirs = {
        name: np.abs(np.array([formula(row) for row in table.rows]) / measured - 1)
        for name, formula in FORMULAS.items()
    }
    routes = ["", *sorted(set(table.routes))]
    print("\ndecode, median error and where nine of ten lie, beside peers' formulas")
    print("  " + " " * 18 + "".join(f"{route or 'all':>16}" for route in routes))
    for name, error in (ours | theirs).items():
        cells = []
        for route in routes:
            mine = error[table.routes == route] if route else error
            cells.append(f"{np.median(mine):.0%} {np.quantile(mine, 0.9):.0%}")
        print(f"  {name:18}" + "".join(f"{cell:>16}" for cell in cells))


def _ends(errors: Errors, calibration: Calibration) -> tuple[Vector, Vector]:
    """The ends of every row's interval."""
    low, high = np.zeros(len(errors.ratios)), np.zeros(len(errors.ratios))
    for route, interval in calibration.intervals.items():
        mine = errors.routes == route
        low[mine], high[mine] = interval.ends(errors.unsure[mine])
    return low, high


def routes_json(
    table: Table,
    errors: Errors,
    each: dict[str, dict[str, Vector]],
    found: Directions,
    calibration: Calibration,
    what: What,
) -> dict[str, Any]:
    """What the package needs of every route."""
    routes = {}
    for route, coefficients in fit(table, what).items():
        if not route:
            continue
        mine = table.routes == route
        devices = sorted(set(table.devices[mine]))
        without = np.array([each[device][route] for device in devices if route in each[device]])
        n = len(without)
        deviations = (without - without.mean(axis=0)) ** 2 if n else np.zeros((1, len(table.names)))
        standard = np.sqrt(max(n - 1, 0) / max(n, 1) * deviations.sum(axis=0))
        error = np.abs(np.expm1(-errors.ratios[mine]))
        held = held_by(table.devices[mine], calibration.holds[mine], error)
        interval = calibration.intervals[route]
        routes[route] = {
            "n_speeds": int(mine.sum()),
            "n_devices": len(devices),
            "median_error": _digits(float(np.median(error))),
            "error_of_nine_in_ten": _digits(float(np.quantile(error, 0.9))),
            "holds": _digits(held.by_rows),
            "holds_by_device": _digits(held.by_devices),
            "interval": [_digits(interval.low), _digits(interval.high)],
            "usual_error": _digits(interval.usual),
            "coefficients": dict(zip(table.names, map(_digits, coefficients), strict=True)),
            "standard_errors": dict(zip(table.names, map(_digits, standard), strict=True)),
            "unsure": [[_digits(value) for value in row] for row in triangle(found[route])],
        }
    return routes


def _digits(value: float) -> float:
    return float(f"{value:.3g}")


def _json(fitted: dict[str, Any]) -> str:
    """One line for each row of numbers."""
    text = json.dumps(fitted, indent=1) + "\n"
    return re.sub(r"\[[-\d.e,\s]+\]", lambda row: re.sub(r"\s+", " ", row[0]), text)


if __name__ == "__main__":
    sys.exit(main())
