"""The intervals of predicted speeds: worked numbers, wider where less is known, and honest on
devices that were put away.
"""

import math
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))
from figures.published_speeds import Published, read_speeds
from figures.speed_calibration import Errors, calibrate, held, intervals_of
from figures.speed_fit import Table, drawn_to, fit, left_out_fits, table_of
from figures.speed_splits import chance, held_by
from figures.speed_unsure import OF_DEVICES, ROUTES_DIFFER, directions, triangle, unsure
from hakaru.planning.speed import fitted
from hakaru.planning.speed_interval import RouteInterval
from hakaru.planning.speed_terms import Chip, decode_terms
from hakaru.planning.token_work import TokenWork

CARRIED = Path(__file__).parents[2] / "benchmarks" / "figures" / "published_speeds.csv"
TWO_TERMS = RouteInterval(
    coefficients={"bytes": 1.0, "layers": 2.0},
    ends=(-2.0, 1.0),
    usual=0.06,
    unsure=[[0.08, 0.0], [0.5]],
)


@pytest.fixture(scope="module")
def decode() -> Table:
    """The published speeds that are carried."""
    speeds = (row for row in read_speeds(CARRIED) if isinstance(row, Published))
    return table_of(speeds, "decode")


def test_an_interval_worked_by_hand() -> None:
    """Bytes alone: 8% unsure, beside a usual spread of 6%, are a width of 10%. With as much time in
    layers (half a second at a coefficient of 2), the parts are 0.04 and 0.125 of the whole.
    """
    assert TWO_TERMS.interval({"bytes": 3.0, "layers": 0.0}) == pytest.approx((-0.2, 0.1))
    both = {"bytes": 1.0, "layers": 0.5}
    assert TWO_TERMS.standard_error(both) == pytest.approx(math.hypot(0.04, 0.125))
    width = math.hypot(0.06, 0.04, 0.125)
    assert TWO_TERMS.interval(both) == pytest.approx((-2 * width, width))


@given(st.floats(1e-6, 1e3), st.floats(0, 1e3), st.floats(1e-3, 1e3))
def test_an_interval_knows_no_unit(n_bytes: float, layers: float, factor: float) -> None:
    """All times ten times as long: the same interval, which holds the prediction."""
    one = TWO_TERMS.interval({"bytes": n_bytes, "layers": layers})
    other = TWO_TERMS.interval({"bytes": factor * n_bytes, "layers": factor * layers})
    assert one == pytest.approx(other)
    assert one[0] < 0 < one[1]


def test_what_no_device_was_measured_with_has_a_wider_interval() -> None:
    """On Metal Q4_0 was measured on every device, and BF16 on none."""
    chip = Chip(bandwidth_gb_s=400)
    interval = RouteInterval.of(fitted()["decode"]["metal"])
    usual, unseen = (
        interval.interval(
            decode_terms(TokenWork(read={type_: 4e9}, products=7e9, n_layer=32), chip, 64)
        )
        for type_ in ("Q4_0", "BF16")
    )
    assert unseen[0] < usual[0] < 0 < usual[1] < unseen[1]


def test_the_triangle_says_what_the_rows_say() -> None:
    """The same standard error for any terms, by fewer numbers."""
    dice = np.random.default_rng(1)
    rows, terms = dice.normal(size=(30, 5)), dice.normal(size=5)
    short = triangle(rows)
    assert [len(row) for row in short] == [5, 4, 3, 2, 1]
    moved = [np.dot(row, terms[k:]) for k, row in enumerate(short)]
    assert math.hypot(*moved) == pytest.approx(np.linalg.norm(rows @ terms))


def test_what_no_row_asks_for_is_unsure_by_as_much_as_routes_differ(decode: Table) -> None:
    """A term that is zero in all rows of a route keeps the value to which it is drawn, give or take
    half of it: as in `bytes_iq`, which nobody timed on Intel.
    """
    _, without = left_out_fits(decode, "decode")
    found, together = directions(decode, "decode", without), fit(decode, "decode")
    n_unseen = 0
    for route in sorted(set(decode.routes)):
        centre = drawn_to(route, "decode", decode.names, together)
        unseen = (decode.terms[decode.routes == route] == 0).all(axis=0)
        errors = np.linalg.norm(found[route][-len(decode.names) :], axis=0)
        assert errors[unseen] == pytest.approx(ROUTES_DIFFER * centre[unseen])
        assert (errors[~unseen] < ROUTES_DIFFER * centre[~unseen]).all()
        n_unseen += int(unseen.sum())
    assert n_unseen > 10


def test_what_one_device_decides_is_unsure(decode: Table) -> None:
    """A term that the speeds of one device alone ask for moves when it is left out: deep contexts
    on Metal. The jackknife of a route is that of its devices.
    """
    off, without = left_out_fits(decode, "decode")
    found = directions(decode, "decode", without)
    cuda = decode.routes == "cuda"
    n = len(set(decode.devices[cuda]))
    assert len(found["cuda"]) == n + len(decode.names)
    moved = np.array([without[device]["cuda"] for device in sorted(set(decode.devices[cuda]))])
    of_devices = found["cuda"][:n] / OF_DEVICES
    assert (of_devices**2).sum(axis=0) == pytest.approx((n - 1) * moved.var(axis=0))
    errors = unsure(decode, off, found)
    assert (errors > 0).all()
    deep = np.array([row.depth >= 2048 for row in decode.rows])
    metal = decode.routes == "metal"
    if (metal & deep).any():
        assert np.median(errors[metal & deep]) > np.median(errors[metal & ~deep])


def made_errors(dice: np.random.Generator, n_devices: int, heavy: int, route: str = "a") -> Errors:
    """Errors as devices make them: each is off as a whole, and its rows as far as they are unsure.
    Most have three usual rows; `heavy` of them run sixty, of all kinds.
    """
    ratios, unsure_, devices = [], [], []
    for i in range(n_devices):
        n = 60 if i < heavy else 3
        sizes = dice.uniform(0, 0.4, n) if i < heavy else np.full(n, 0.02)
        shift = dice.normal(0, 0.07)
        ratios += list(shift + dice.normal(0, 1, n) * sizes + dice.normal(0, 0.03, n))
        unsure_ += list(sizes)
        devices += [f"{route}{i}"] * n
    return Errors(
        np.array(ratios), np.array(unsure_), np.array([route] * len(ratios)), np.array(devices)
    )


def test_nine_of_ten_hold_on_devices_that_were_put_away() -> None:
    """By rows and by devices, although a tenth of the devices have two thirds of the rows and
    larger errors: 40 worlds of 40 devices, judged on others of the same kind.
    """
    dice = np.random.default_rng(7)
    counts = []
    for _ in range(40):
        interval = intervals_of(made_errors(dice, 40, 4))["a"]
        new = made_errors(dice, 40, 4)
        low, high = interval.ends(new.unsure)
        counts.append(held_by(new.devices, held(new, interval), high - low))
    for part in ("by_rows", "by_devices"):
        assert 0.87 <= np.mean([getattr(count, part) for count in counts]) <= 0.93, part


def test_few_devices_widen_an_interval() -> None:
    """Three devices say less of the next one than thirty with the very same errors."""
    few = made_errors(np.random.default_rng(3), 3, 0)
    names = [[f"{device}-{i}" for device in few.devices] for i in range(10)]
    many = Errors(
        np.tile(few.ratios, 10), np.tile(few.unsure, 10), np.tile(few.routes, 10), np.ravel(names)
    )
    of_few, of_many = (intervals_of(errors)["a"] for errors in (few, many))
    assert of_few.usual == pytest.approx(of_many.usual, rel=0.05)
    assert of_few.low < 1.25 * of_many.low
    assert of_few.high > 1.25 * of_many.high


def test_a_device_is_judged_by_the_others() -> None:
    """One that is five times as slow as predicted lies outside, however many rows it has."""
    dice = np.random.default_rng(5)
    errors = made_errors(dice, 20, 0)
    odd = errors.devices == "a0"
    ratios = np.where(odd, -math.log(5), errors.ratios)
    calibration = calibrate(Errors(ratios, errors.unsure, errors.routes, errors.devices))
    assert not calibration.holds[odd].any()
    assert calibration.holds[~odd].mean() > 0.85


def test_rows_of_one_device_prove_little() -> None:
    """A thousand rows of one device among ten of nine others count as hardly more than one."""
    devices = np.array(["a"] * 1000 + list("bcdefghij"))
    by_rows, by_devices = chance(devices)
    assert by_rows == pytest.approx(0.3, abs=0.01)
    assert by_devices == pytest.approx(0.3 / math.sqrt(10))
