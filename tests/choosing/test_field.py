"""The loop without an engine: in thousands of worlds, in milliseconds."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from worlds import World, record, walk

from hakaru.choosing import steps
from hakaru.choosing.candidate import SOURCE, Key
from hakaru.choosing.rule import choose, objection
from hakaru.choosing.smaller_cache import is_slow
from hakaru.memory.settings import F16_CACHE

RACES = json.loads((Path(__file__).parent / "races.json").read_text(encoding="utf-8"))
"""Walks by the number of their world, as the loop was walked before there was a field. Six of them
(2, 8, 9, 13, 26, 29) were walked anew when "as fast" became "within a tenth" (decision 24).
"""
numbers = st.integers(0, 10**9)
worlds = numbers.map(World).filter(World.has_room)
steady_worlds = numbers.filter(lambda number: World(number, steady=True).has_room())


@pytest.mark.parametrize("number", RACES)
def test_recorded_races_are_run_as_they_were(number: str) -> None:
    """The same is read, timed, proven and examined in the same order, with the same reasons."""
    assert record(walk(World(int(number)))) == RACES[number]


@settings(deadline=None)
@given(worlds)
def test_the_choice_meets_every_constraint_and_nobody_is_better(world: World) -> None:
    """The choice was read, timed and proven on untouched texts, unless it is the source itself. By
    the rule the choice goes before all that pass.
    """
    walked = walk(world)
    if (taken := walked.choice) is None:
        assert not any(c.passes for c in walked.end.assessed())
        return
    assert taken.fits and taken.verdict == "pass" and taken.speed and taken.quality
    assert objection(taken, world.terms.constraints) is None
    assert taken.untouched or taken.key == (SOURCE, F16_CACHE)
    assert (
        taken.tasks
        or not world.terms.constraints.tasks
        or not walked.end.source.fits
        or taken.key == (SOURCE, F16_CACHE)
    )
    best = choose(walked.end.assessed())
    assert best and best.key == taken.key


@settings(deadline=None)
@given(worlds)
def test_nothing_is_asked_twice(world: World) -> None:
    """No candidate is timed, proven or examined again. What was read on some windows is read on
    more only, or looked up on all.
    """
    walked = walk(world)
    n_read: dict[Key, int] = {}
    once: Counter[object] = Counter()
    for field in walked.fields:
        match step := field.next():
            case steps.Time(keys):
                once.update(("time", key) for key in keys)
            case steps.Prove() | steps.Examine() | steps.TimeDeep() | steps.Mix() | steps.Settle():
                once[step] += 1
            case steps.Read(keys, n):
                for key in keys:
                    assert (
                        n > n_read.get(key, 0)
                        or n == world.terms.n_windows
                        or field.candidates[key].why
                    )
                    n_read[key] = n
    assert not once or max(once.values()) == 1


@settings(deadline=None)
@given(worlds)
def test_who_is_out_is_not_asked_for(world: World) -> None:
    """Neither a level that does not fit, nor a copy of the source, nor one that is predicted to
    break the tier, nor one whose smaller cache is slow. And no file is needed of a type that lost.
    """
    copies = {level.type for level in world.levels if level.is_copy}
    for field in walk(world).fields:
        step = field.next()
        keys = step.keys if isinstance(step, steps.Read | steps.Time | steps.Group) else ()
        for key in keys:
            asked = field.candidates.get(key) or field.small
            assert asked and asked.fits and asked.type not in copies
            assert (
                not asked.is_hopeless(world.terms.constraints.tier)
                or world.terms.sweep
                or asked.type == "mix-1"
            )
            assert not is_slow(asked)
            assert not asked.beaten_by
            assert key[0] not in field.lost_types() or world.terms.sweep


@settings(deadline=None)
@given(steady_worlds)
def test_rounds_decide_as_reading_everything_does_and_read_no_more(number: int) -> None:
    """In steady worlds. Smaller caches, which come later, are not counted. Of two candidates that
    are equal in all that counts, either may be taken.
    """
    rounds, sweep = (World(number, steady=True, sweep=sweep) for sweep in (False, True))
    quick, whole = walk(rounds), walk(sweep)
    keys = [c.key for c in rounds.entrants()]
    assert sum(rounds.n_read.get(key, 0) for key in keys) <= sum(
        sweep.n_read.get(key, 0) for key in keys
    )
    quick_taken, whole_taken = quick.choice, whole.choice
    assert (quick_taken is None) == (whole_taken is None)
    if quick_taken:
        assert (quick_taken.speed, quick_taken.total_bytes) == (
            whole_taken.speed,
            whole_taken.total_bytes,
        )


@settings(deadline=None)
@given(worlds, st.data())
def test_a_field_never_changes(world: World, data: st.DataObject) -> None:
    """From any field on the way the same answers lead to the same end."""
    walked = walk(world)
    begin = data.draw(st.integers(0, len(walked.answers)))
    field = walked.fields[begin]
    for answer in walked.answers[begin:]:
        field = field.after(answer)
    assert field == walked.end


class CopyingWorld(World):
    """A world in which the mix would have every tensor of the source as it is."""

    def mix(self) -> steps.Level | None:
        level = super().mix()
        return replace(level, is_copy=True) if level else None


@settings(deadline=None)
@given(worlds)
def test_a_mix_that_is_the_source_is_told_as_that(world: World) -> None:
    """Neither read nor timed, nor said to meet every constraint; like a level that is a copy."""
    end = walk(CopyingWorld(world.number)).end
    copies = {level.type for level in world.levels if level.is_copy} | {"mix-1"}
    for c in end.assessed():
        if c.type in copies:
            assert not c.passes and c.quality is None and c.speed is None
            assert c.why == "the source itself, bit for bit"


@settings(deadline=None)
@given(worlds)
def test_who_cannot_be_built_takes_nobody_along_later(world: World) -> None:
    """A level for which the disk is too small is asked for once; the others are read without it."""
    walked = walk(world)
    refused: set[Key] = set()
    for field, answer in zip(walked.fields, walked.answers, strict=False):
        if isinstance(step := field.next(), steps.Read):
            assert not refused & set(step.keys)
            refused |= set(step.keys) if isinstance(answer, str) else set()


class UntimeableWorld(World):
    """A world in which some levels cannot be built when they are to be timed."""

    def answer(self, step: steps.Step) -> Any:
        answer = super().answer(step)
        if isinstance(step, steps.Time):
            return {key: why if (why := self.why_untimed(key)) else answer[key] for key in answer}
        if isinstance(step, steps.TimeDeep) and self.chance(0.3, "no room for deep"):
            return "no room behind a long context"
        return answer

    def why_untimed(self, key: Key) -> str | None:
        """Why a candidate cannot be timed; None where it can."""
        return f"no room to time {key[0]}" if self.chance(0.3, "untimeable", key[0]) else None


@settings(deadline=None)
@given(worlds)
def test_who_cannot_be_timed_is_out_with_the_reason_and_the_others_go_on(world: World) -> None:
    """It is asked for no more, does not pass, and is told why; the choice is one that was timed."""
    there = UntimeableWorld(world.number)
    walked = walk(there)
    out: dict[Key, str] = {}
    for field, answer in zip(walked.fields, walked.answers, strict=False):
        step = field.next()
        if isinstance(step, steps.Read | steps.Time | steps.Group):
            assert not out.keys() & set(step.keys)
        if isinstance(step, steps.Time):
            out |= {key: why for key, why in answer.items() if isinstance(why, str)}
    for c in walked.end.assessed():
        if c.key in out:
            assert not c.passes and c.speed is None
            assert out[c.key] in c.why or c.verdict != "pass"
    assert walked.choice is None or walked.choice.speed
