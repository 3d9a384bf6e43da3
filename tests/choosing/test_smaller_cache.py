"""Who is tried with a smaller KV cache, and when that is too slow."""

import pytest
from msgspec.structs import replace

from hakaru.choosing.candidate import Candidate
from hakaru.choosing.smaller_cache import (
    SMALL_CACHE,
    depth_for,
    is_slow,
    next_smaller,
    slowness,
    with_small_cache,
)
from hakaru.evaluation.divergence import identical
from hakaru.evaluation.judgement import Judgement
from hakaru.evaluation.speed import Point, Speed
from hakaru.memory.settings import F16_CACHE
from hakaru.units import Figure


def figure(value: float) -> Figure:
    """Two percent to either side."""
    return Figure(value=value, unit="x", source="measured", low=0.98 * value, high=1.02 * value)


def speed(decode: float, prefill: float = 100.0) -> Speed:
    return Speed(
        decode_tokens_per_s=figure(decode),
        prefill_tokens_per_s=figure(prefill),
        first_token_ms=figure(1),
        n_prompt=1,
        n_predict=1,
        repeats=6,
    )


def level(type_: str, total: int, decode: float = 50.0) -> Candidate:
    return Candidate(
        type=type_, weights_bytes=total - 400, bpw=4.0, total_bytes=total, fits=True,
        quality=identical(), judgement=Judgement("pass"), speed=speed(decode), passes=True,
    )  # fmt: skip


BEST, LARGER, SLOW = level("Q6_K", 1000), level("Q8_0", 1200), level("Q5_K", 900, decode=40.0)
SAVED, LIMIT = 300, 2000


def test_the_smallest_that_is_as_fast_comes_first() -> None:
    """The best itself; after it failed, a larger level whose cache saves enough; nobody who is
    slower, or saves nothing worth having.
    """
    small = next_smaller([BEST, LARGER, SLOW], BEST, SAVED, LIMIT)
    assert small
    assert (small.key, small.total_bytes, small.fits, small.quality, small.speed) == (
        ("Q6_K", SMALL_CACHE),
        700,
        True,
        None,
        None,
    )
    failed = replace(small, quality=identical(), judgement=Judgement("fail"), speed=speed(50))
    beaten = replace(LARGER, passes=False, judgement=None, quality=None, beaten_by="Q6_K")
    after = next_smaller([BEST, failed, beaten, SLOW], BEST, SAVED, LIMIT)
    assert after
    assert (after.key, after.total_bytes) == (("Q8_0", SMALL_CACHE), 900)
    assert next_smaller([BEST, failed, SLOW], BEST, SAVED, LIMIT) is None
    assert (
        next_smaller(
            [BEST, failed, replace(LARGER, passes=False, judgement=Judgement("fail"))],
            BEST,
            SAVED,
            LIMIT,
        )
        is None
    )
    assert next_smaller([BEST, LARGER], BEST, 49, LIMIT) is None
    assert next_smaller([BEST, LARGER], replace(BEST, cache=("q4_0", "q4_0")), SAVED, LIMIT) is None


def test_a_cache_that_was_slow_is_not_tried_again() -> None:
    """It is slow for all weights."""
    slow = replace(with_small_cache(BEST, SAVED, LIMIT), speed=speed(30), why="slower")
    assert is_slow(slow) and not is_slow(BEST)
    assert next_smaller([BEST, LARGER, slow], BEST, SAVED, LIMIT) is None
    assert with_small_cache(LARGER, SAVED, 899).fits is False


def test_who_was_beaten_says_nothing_of_its_cache() -> None:
    """A level that fits only with the smaller cache and was timed and beaten before it was read:
    others are tried with it all the same.
    """
    beaten = replace(
        with_small_cache(LARGER, SAVED, LIMIT),
        speed=speed(50),
        beaten_by="Q6_K",
        why="cannot win: Q6_K keeps the tier",
    )
    assert not is_slow(beaten)
    small = next_smaller([BEST, beaten], BEST, SAVED, LIMIT)
    assert small and small.key == ("Q6_K", SMALL_CACHE)


@pytest.mark.parametrize(
    ("prefill", "n_ctx", "depth"),
    [(315, 4096, 512), (5000, 4096, 2048), (5000, 65536, 8192), (60, 4096, 0), (5000, 256, 0)],
)
def test_both_are_compared_behind_as_much_as_is_soon_read(
    prefill: float, n_ctx: int, depth: int
) -> None:
    """By the slower one's rate; nowhere behind less than the usual prompt."""
    assert (
        depth_for(speed(50, prefill), speed(50, 2 * prefill), n_ctx)
        == depth_for(speed(50, 2 * prefill), speed(50, prefill), n_ctx)
        == depth
    )


def point(decode: float, first: float) -> Point:
    return Point(
        depth=2048, users=1, decode_tokens_per_s=figure(decode), first_token_ms=figure(first)
    )


@pytest.mark.parametrize(
    ("small", "deep", "words"),
    [
        (speed(49, 99), None, None),
        (speed(45, 99), None,
            "answers more slowly than with a KV cache of F16: 45.0 against 50.0 tokens/s"),
        (speed(60, 90), None,
            "reads a prompt more slowly than with a KV cache of F16: 90.0 against 100.0 tokens/s"),
        (speed(50), (point(30, 100), point(31, 99)), None),
        (speed(50), (point(20, 100), point(31, 99)),
            ("behind 2,048 tokens of context it answers more slowly than with a KV cache of F16: "
             "20.0 against 31.0")),
        (speed(60), (point(40, 200), point(31, 99)),
            ("behind 2,048 tokens of context the first token takes longer than with a KV cache "
             "of F16: 200 against 99 ms")),
    ],
)  # fmt: skip
def test_slower_is_slower_beyond_the_intervals_at_anything(
    small: Speed, deep: tuple[Point, Point] | None, words: str | None
) -> None:
    """At answering, at reading, and behind a long context at both, said with the figures that show
    it: the table's own, of an empty context, may well be the better ones.
    """
    found = slowness(small, speed(50), deep)
    assert found.startswith(words) if found and words else found == words
    assert F16_CACHE != SMALL_CACHE
