"""What a row's answers cost in its task's traffic, and how it is told."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from hakaru.cli import run
from hakaru.cli.tell.what_it_costs import cost_lines
from hakaru.hardware.lookup import board_watts
from hakaru.models.model import read_model
from hakaru.planning.timed_file import TimedFile
from hakaru.planning.timed_here import power_here, remember_power, timed_here
from hakaru.selection.choose import choose
from hakaru.selection.cost import Prices
from hakaru.selection.money import Money
from hakaru.selection.row_cost import answers_per_s
from hakaru.session import Session

PRICES = Prices(electricity=Money(31, "JPY"), cloud=Money(90, "JPY"), machine=Money(300_000, "JPY"))

FAST = TimedFile(read={"Q4_K": 2e9}, seconds=0.02, n_layer=30, products=4e9, prefill_seconds=0.0005)


def test_a_row_costs_what_its_board_draws_while_it_reads_and_writes() -> None:
    """kWh per million tokens = W / (tokens/s) / 3.6; the prompt's time counts, so it is more than
    decoding alone takes.
    """
    chosen = choose("chat", hardware="RTX 4090", language="en", prices=PRICES)
    row = next(r for r in chosen.rows if r.speeds.decode and r.speeds.prefill)
    cost, pace = chosen.cost(row), answers_per_s(row, chosen.conditions.traffic)
    assert cost and pace and row.speeds.decode
    assert board_watts("NVIDIA GeForce RTX 4090") == 450
    assert pace.value < row.speeds.decode.value
    assert cost.kwh.value == pytest.approx(450 / pace.value / 3.6)
    assert cost.kwh.lowest < cost.kwh.value < cost.kwh.highest


def test_the_persons_own_meter_counts_before_what_is_published() -> None:
    """Half the power, half the energy."""
    metered = Prices(electricity=Money(31, "JPY"), watts=225)
    by_meter = choose("chat", hardware="RTX 4090", language="en", prices=metered)
    published = choose("chat", hardware="RTX 4090", language="en", prices=PRICES)
    row = published.rows[0]
    ours, theirs = by_meter.cost(row), published.cost(row)
    assert ours and theirs
    assert ours.kwh.value == pytest.approx(theirs.kwh.value / 2)


def test_what_this_machine_drew_counts_before_what_is_published(
    tiny: Path, session_with: Callable[..., Session], capsys: pytest.CaptureFixture[str]
) -> None:
    """The median over the files that were timed here, with its range; a row in RAM has a cost, too.
    Of the other kind, with accelerators, nothing was measured.
    """
    session, model = session_with(), read_model(tiny)
    files = (FAST, replace(FAST, read={"Q4_K": 1e9}))
    for i, file in enumerate(files):
        inputs = {**timed_here(session.machine), "model": str(i)}
        session.ledger.remember("pace", inputs, file.as_json())
    remember_power(session.ledger, session.machine, model, 42.0, on_gpu=False)
    chosen = choose("chat", language="en", prices=PRICES, session=session)
    row = chosen.recommended
    assert (
        row
        and (cost := chosen.cost(row))
        and (pace := answers_per_s(row, chosen.conditions.traffic))
    )
    assert (cost.watts.value, cost.watts.source) == (42.0, "measured")
    assert cost.kwh.value == pytest.approx(42 / pace.value / 3.6)
    assert power_here(session.ledger, session.machine, on_gpu=True) is None
    assert "at 42 W, measured here by the counters" in " ".join(cost_lines(chosen))


def test_the_cost_stands_below_the_recommended_row(capsys: pytest.CaptureFixture[str]) -> None:
    """In yen as people write them, with the month in which the machine has paid for itself."""
    asked = ["choose", "--hardware", "RTX 4090", "--electricity", "31円/kWh"]
    assert run([*asked, "--cloud", "90 JPY", "--price", "30万円", "--tokens-per-day", "100k"]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "the published power of the boards" in told
    assert "At ¥31 per kWh that is ¥" in told
    assert "With 102,000 tokens a day, a machine for ¥300,000 has paid for itself after" in told


def test_json_has_the_cost_of_every_row(capsys: pytest.CaptureFixture[str]) -> None:
    """And no such key where no price was named."""
    asked = ["choose", "--hardware", "RTX 4090", "--json"]
    assert run([*asked, "--electricity", "0.30 EUR"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert all("cost" in row for row in rows)
    assert any(row["cost"] and row["cost"]["currency"] == "EUR" for row in rows)
    assert run(asked) == 0
    assert "cost" not in json.loads(capsys.readouterr().out)["rows"][0]


def test_without_a_board_the_person_is_asked_for_the_power(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Nobody knows what a machine without an accelerator draws."""
    assert run(["choose", "--hardware", "32GiB RAM", "--electricity", "31 JPY"]) == 0
    assert "--watts" in capsys.readouterr().out
