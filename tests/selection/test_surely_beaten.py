"""Racers that answer side by side stop where they would have stopped one after the other."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from hakaru.evaluation.checks import Check
from hakaru.evaluation.duel import is_surely_worse
from hakaru.evaluation.grading import Graded
from hakaru.evaluation.tasks import Item
from hakaru.selection.surely_beaten import surely_beaten

ERROR_RATE = 0.3  # so large that short races have stops
N = 24
Racers = list[tuple[list[bool], bool, int]]
"""Of each: which tasks it solves, whether it pleases, and how many it has answered."""


def graded(rights: Sequence[bool]) -> list[Graded]:
    item = Item(id="", domain="", prompt="", check=Check(kind="exact"))
    return [Graded(item=item, answer="", right=right) for right in rights]


def one_after_the_other(racers: Racers) -> list[int]:
    """After how many answers each stops: a leader of those before is looked for, as `finish.leader`
    does it.
    """
    stops = list[int]()
    for place, (rights, pleases, _) in enumerate(racers):
        rivals = [i for i in range(place) if stops[i] == N and (racers[i][1] or not pleases)]
        rival = max(rivals, key=lambda i: sum(racers[i][0]), default=None)
        looks = (
            n
            for n in range(1, N + 1)
            if rival is not None
            and is_surely_worse(graded(racers[rival][0]), graded(rights[:n]), error_rate=ERROR_RATE)
        )
        stops.append(next(looks, N))
    return stops


def beaten(racers: Racers) -> set[int]:
    return surely_beaten(
        [graded(rights[:n]) for rights, _, n in racers],
        [pleases for _, pleases, _ in racers],
        n_tasks=N,
        error_rate=ERROR_RATE,
    )


chances = st.floats(0, 1).flatmap(
    lambda skill: st.lists(st.floats(0, 1).map(lambda luck: luck < skill), min_size=N, max_size=N)
)
worlds = st.lists(st.tuples(chances, st.booleans(), st.integers(0, N)), min_size=1, max_size=4)


@given(worlds)
def test_who_is_beaten_needs_no_further_answer(racers: Racers) -> None:
    """However far each has come: one after the other, it would have stopped within those."""
    stops = one_after_the_other(racers)
    assert all(stops[place] <= racers[place][2] for place in beaten(racers))


@given(worlds)
def test_at_the_end_all_that_stop_are_known(racers: Racers) -> None:
    """With every answer there, exactly those are beaten who would have stopped."""
    whole = [(rights, pleases, N) for rights, pleases, _ in racers]
    stops = one_after_the_other(whole)
    known = beaten(whole)
    assert {place for place, n in enumerate(stops) if n < N} <= known
    assert 0 not in known


def test_a_racer_that_may_still_lead_keeps_another_running() -> None:
    """The third racer is far behind the first, but the second may lead, and has answered little;
    what does not please leads no racer that does.
    """
    good, bad, none = [True] * N, [False] * N, 0
    first, third = (good, True, N), (bad, True, N)
    assert beaten([first, (good, True, none), third]) == set()
    assert beaten([first, (good, False, none), third]) == {2}
    assert beaten([(good, False, N), (bad, True, N)]) == set()
    assert beaten([first, (bad, True, 9), third]) == {1, 2}
