"""The rule by which a race ends, on racers that are made up."""

from pathlib import Path
from typing import Any, cast

import pytest
from msgspec import Struct, field

from hakaru.evaluation.grading import Graded
from hakaru.evaluation.speed import Speed
from hakaru.evaluation.tasks import our_items
from hakaru.selection.conditions import conditions_of
from hakaru.selection.finish import Lap, Race, leader, of_each_pair
from hakaru.selection.racers import race_tasks
from hakaru.selection.why_won import untold, why_won
from hakaru.units import Figure

ITEM, CHAT = our_items("en")[0], conditions_of("chat")


class Named(Struct):
    """What a row and an entrant are asked for here."""

    id: str = ""
    type: str = "Q8_0"
    row: Any = None
    model: Any = field(default=None)


def rate(value: float) -> Figure:
    return Figure(value=value, unit="tokens/s", source="measured")


def lap(
    name: str,
    n_right: int,
    decode: float,
    *,
    n_bytes: int = 1,
    prefill: float = 1000,
    n: int = 100,
    beaten_by: int | None = None,
) -> Lap:
    """A racer that solved the first `n_right` of `n` tasks."""
    entrant = Named(row=Named(model=Named(id=name)))
    return Lap(
        entrant=cast("Any", entrant), path=Path(name), bytes=n_bytes, beaten_by=beaten_by,
        graded=[Graded(item=ITEM, answer="x", right=i < n_right) for i in range(n)],
        speed=Speed(
            decode_tokens_per_s=rate(decode), prefill_tokens_per_s=rate(prefill),
            first_token_ms=rate(1), n_prompt=1, n_predict=1, repeats=1,
        ),
        deep=None,
    )  # fmt: skip


def race(*laps: Lap) -> Race:
    return Race(
        conditions=CHAT, tasks=race_tasks("chat", "en", ()), laps=laps, out=(),
        error_rate=of_each_pair(len(laps)),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("laps", "winner", "why"),
    [
        ([("a", 60, 10), ("b", 80, 9)], "b", "it solved 80 of 100 tasks, beyond chance"),
        ([("a", 80, 10), ("b", 78, 20)], "b", "78 of 100 tasks beside 80 of a is within chance"),
        ([("a", 80, 19), ("b", 78, 20)], "a", "80 of 100 tasks, the most; b may be as good"),
        ([("a", 60, 50), ("b", 80, 9), ("c", 79, 30)], "c", "faster: 30.0 beside 9.0 tokens/s"),
        ([("a", 80, 20), ("b", 80, 20)], "a", "as many as b, and it is smaller"),
        ([("a", 60, 20), ("b", 80, 5)], "a", "the only one that meets every wish"),
        ([("a", 60, 4), ("b", 80, 5)], "b", "no racer meets every wish"),
    ],
)
def test_the_rule(laps: list[tuple[str, int, float]], winner: str, why: str) -> None:
    """Better beyond chance; else as good and faster; of as fast ones more right, or smaller."""
    sizes = range(1, len(laps) + 1)
    found = race(*(lap(*one, n_bytes=size) for one, size in zip(laps, sizes, strict=True)))
    assert found.winner and found.winner.row.model.id == winner
    assert why in why_won(found)


def test_who_was_stopped_is_never_taken() -> None:
    """It has the one duel that it lost, and the others have theirs."""
    found = race(lap("a", 80, 10), lap("b", 1, 99, n=12, beaten_by=0), lap("c", 79, 10))
    assert found.winner and found.winner.row.model.id == "a"
    assert {places: one.verdict for places, one in found.duels.items()} == {
        (0, 1): "worse",
        (0, 2): "cannot tell",
    }
    data = found.as_json("because")
    assert data["recommended"] == {"model": "a", "type": "Q8_0"} and data["why"] == "because"
    pairs = cast("list[dict[str, object]]", data["pairs"])
    assert [pair["stopped"] for pair in pairs] == [True, False]


def test_a_slow_leader_stops_nobody_who_meets_every_wish() -> None:
    """Since the slow one would not be taken, the rival of a racer is of its own kind."""
    laps = [lap("slow", 90, 5), lap("fast", 50, 20)]
    assert leader(laps, CHAT, pleasing=False) == 0 and leader(laps, CHAT, pleasing=True) == 1
    assert leader(laps[:1], CHAT, pleasing=True) is None


def test_one_racer_is_no_race() -> None:
    """And nothing is recommended by it."""
    found = race(lap("a", 80, 10))
    assert found.winner is None and why_won(found) == "" and untold(found) is None
    assert race().winner is None and race().best is None


def test_what_is_not_told_apart_is_said_with_its_figure() -> None:
    """The smallest difference that those who cannot be told apart might have shown; two racers
    share nothing of the 5%.
    """
    close = race(lap("a", 80, 10), lap("b", 80, 10))
    assert untold(close) == pytest.approx(0.06)
    assert untold(race(lap("a", 10, 10), lap("b", 90, 10))) is None
    assert of_each_pair(2) == 0.05 and of_each_pair(3) == pytest.approx(0.05 / 3)


def test_a_slow_first_word_is_missed_as_measured() -> None:
    """500 tokens at 100 tokens/s are five seconds, and three are wished for."""
    assert lap("a", 1, 100, prefill=100).misses(CHAT) == ("first_token_s",)
    assert lap("a", 1, 1).misses(CHAT) == ("decode_tokens_per_s",)
