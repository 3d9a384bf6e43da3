"""Two models on the same tasks: a look after every task errs no more often than it says."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hakaru.evaluation.duel import duel, evidence, is_surely_worse, least_difference, mixed
from hakaru.evaluation.grading import Graded
from hakaru.evaluation.tasks import Item, our_items

ITEM = our_items("en")[0]


def graded(rights: list[bool]) -> list[Graded]:
    """Answers that are right or wrong."""
    return [Graded(item=ITEM, answer="x", right=right) for right in rights]


@pytest.mark.parametrize(
    ("lost", "won", "ratio"), [(0, 0, 1.0), (1, 0, 1.0), (2, 0, 4 / 3), (11, 0, 2048 / 12)]
)
def test_the_evidence_of_few_flips(lost: int, won: int, ratio: float) -> None:
    """2^n / ((n + 1) C(n, lost)), by hand."""
    assert evidence(lost, won) == pytest.approx(ratio)


@given(st.integers(1, 60))
def test_the_evidence_is_a_fair_game(n: int) -> None:
    """Over all tosses of a fair coin its mean is one, however many tosses there are."""
    from math import comb

    mean = sum(comb(n, k) / 2**n * evidence(k, n - k) for k in range(n + 1))
    assert mean == pytest.approx(1.0)


def test_eleven_losses_in_a_row_are_enough() -> None:
    """At 5%; ten are not, and whoever wins is never stopped."""
    first = graded([True] * 20)
    assert not is_surely_worse(first, graded([False] * 10), error_rate=0.05)
    assert is_surely_worse(first, graded([False] * 11), error_rate=0.05)
    assert not is_surely_worse(graded([False] * 20), graded([True] * 20), error_rate=0.05)


def ended(dice: random.Random, ours: float, theirs: float) -> tuple[str, int]:
    """The verdict on a second model, and after how many of 126 tasks."""
    first = graded([dice.random() < ours for _ in range(126)])
    second = graded([dice.random() < theirs for _ in range(126)])
    for n in range(1, 127):
        if is_surely_worse(first, second[:n], error_rate=0.05):
            return duel(first, second[:n], error_rate=0.05, stopped=n < 126).verdict, n
    return duel(first, second, error_rate=0.05).verdict, 126


def test_models_that_are_as_good_are_hardly_ever_told_apart() -> None:
    """With a look after every task and a test at the end: in at most 5%."""
    dice = random.Random(3)
    verdicts = [ended(dice, 0.7, 0.7)[0] for _ in range(100)]
    assert sum(verdict != "cannot tell" for verdict in verdicts) <= 8  # 5% of 100 and 1.4 sigma


def test_a_much_worse_model_is_known_early() -> None:
    """Of 126 tasks it answers a third at most."""
    dice = random.Random(4)
    ends = [ended(dice, 0.8, 0.2) for _ in range(30)]
    assert {verdict for verdict, _ in ends} == {"worse"}
    assert sorted(n for _, n in ends)[15] <= 42


@pytest.mark.parametrize(
    ("n", "error_rate", "least"), [(20, 0.05, 0.3), (126, 0.05, 6 / 126), (20, 0.05 / 3, 0.4)]
)
def test_what_so_few_tasks_can_prove(n: int, error_rate: float, least: float) -> None:
    """Six flips, all one way; eight where three pairs share the 5%. No fewer than none."""
    assert least_difference(n, error_rate=error_rate) == pytest.approx(least)
    assert least_difference(0, error_rate=error_rate) == 1.0
    flips = round(least * n)
    first, second = [False] * n, [True] * flips + [False] * (n - flips)
    assert duel(graded(first), graded(second), error_rate=error_rate).verdict == "better"
    second[0] = False
    assert duel(graded(first), graded(second), error_rate=error_rate).verdict == "cannot tell"


def test_every_first_part_is_of_all_kinds() -> None:
    """The tasks come in turns, and none is lost."""
    items: list[Item] = mixed(our_items("ja"))
    kinds = {item.domain for item in items}
    assert {item.domain for item in items[: len(kinds)]} == kinds
    assert sorted(i.id for i in items) == sorted(i.id for i in our_items("ja"))
