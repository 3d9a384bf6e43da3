"""How much is left of the loop, told while it is walked."""

from collections import Counter
from collections.abc import Callable
from typing import Any

from hypothesis import assume, given, settings
from hypothesis import strategies as st
from worlds import World, walk

from hakaru.choosing import steps
from hakaru.choosing.loop import walked
from hakaru.choosing.outlook import Outlook, done_by, least_left, most_left
from hakaru.choosing.transitions import opened
from hakaru.evaluation.paces import Paces

numbers = st.integers(0, 10**9)
worlds = numbers.map(World).filter(World.has_room)
steady = numbers.map(lambda number: World(number, steady=True)).filter(World.has_room)


@settings(deadline=None)
@given(worlds)
def test_the_least_is_no_more_than_the_most(world: World) -> None:
    """In every kind of work, at every step; and after the last nothing is left."""
    for field in (fields := walk(world).fields):
        least, most = least_left(field), most_left(field)
        assert all(0 <= n <= most.get(kind, 0) for kind, n in least.items())
    assert not any(most_left(fields[-1]).values())


@settings(deadline=None, max_examples=300)
@given(steady)
def test_without_surprises_no_more_is_done_than_the_most(world: World) -> None:
    """Told at any step of the walk, for windows and for trials."""
    whole = walk(world)
    small = {f.small.key for f in whole.fields if f.small}
    assume(len(small) <= 1)  # that a second level is tried with a smaller KV cache is left out
    rest = Counter[str]()
    for field, answer in reversed([*zip(whole.fields[:-1], whole.answers, strict=True)]):
        rest.update(done_by(field.step, field, answer))
        assert rest <= Counter(most_left(field)), field.step


class Player:
    """A worker that answers as a world does. Reading takes a second a window, timing ten a level;
    a read or timed level moves the clock.
    """

    def __init__(self, world: World) -> None:
        self.world, self.now, self.files = world, 0.0, self
        self.asked: list[steps.Step] = []
        self.has_timed: Callable[[], None] = lambda: None

    def answer(self, step: steps.Step) -> steps.Answer:
        before = dict(self.world.n_read)
        answer: steps.Answer = self.world.answer(step)
        match step:
            case steps.Read(keys, n):
                self.now += sum(n - before.get(key, 0) for key in keys)
            case steps.Time(keys):
                for _ in keys:
                    self.now += 10
                    self.has_timed()
        self.asked.append(step)
        return answer

    def remove(self, type_: str) -> None:
        """Files of losers."""


@settings(deadline=None)
@given(worlds)
def test_nothing_is_foreseen_before_windows_and_levels_were_timed(world: World) -> None:
    """And what is foreseen is a range that has its ends in order."""
    player, told = Player(world), list[tuple[float, float]]()

    def foresee(least_s: float, most_s: float) -> None:
        kinds = {type(step) for step in player.asked}
        assert kinds & {steps.Read, steps.Prove} or not most_s
        told.append((least_s, most_s))

    first = opened(world.terms, world.entrants())
    worker: Any = player
    assert isinstance(walked(first, worker, foresee, lambda: player.now).next(), steps.Done)
    assert all(0 <= least <= most for least, most in told)


def test_after_the_first_timed_level_the_others_are_foreseen() -> None:
    """Within the step that times them all, the rest becomes less with every level."""
    fields = (walk(World(number)).fields for number in range(500))
    first = next(
        field
        for walked in fields
        for field in walked
        if isinstance(field.step, steps.Time) and len(field.step.keys) == 4
    )
    now, told = [0.0], list[tuple[float, float]]()
    outlook = Outlook(lambda *seconds: told.append(seconds), lambda: now[0])
    outlook.paces.took({"windows": 1}, 0.0)
    outlook.begins(first)
    assert told == []
    for _ in range(4):
        now[0] += 10
        outlook.has_timed()
    trials = most_left(first)["trials"]
    assert [most for _, most in told] == [10.0 * (trials - n) for n in (1, 2, 3, 4)]


def test_paces_are_the_slowest_seen_and_tell_nothing_without_a_basis() -> None:
    """A step that was recalled in no time makes nobody hope."""
    paces = Paces()
    assert paces.left({}, {"windows": 3}) is None
    paces.took({"windows": 10}, 20.0)
    paces.took({"windows": 10}, 0.0)
    assert paces.left({"windows": 1}, {"windows": 3}) == (2.0, 6.0)
    assert paces.left({}, {"windows": 3, "trials": 1}) is None
    assert paces.left({}, {"windows": 3, "trials": 0}) == (0.0, 6.0)
    paces.took({"trials": 2}, 30.0)
    assert paces.left({"trials": 1}, {"windows": 3, "trials": 2}) == (15.0, 36.0)
