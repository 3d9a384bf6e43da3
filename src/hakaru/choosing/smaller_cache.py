"""Which candidates are tried with a smaller KV cache, and whether the cache slows them down. Pure.

By the rule, the smaller of two equally fast candidates wins. So a smaller cache is tried wherever
the cache saves enough. Such a candidate is timed before any text is read: on processors a smaller
cache is often slow to fill and to read, and then the candidate is out (docs/labbook.md,
2026-11-27).
"""

from collections.abc import Collection
from typing import Final

from hakaru.choosing.candidate import Candidate
from hakaru.choosing.rule import as_fast
from hakaru.evaluation.speed import DEPTHS, N_PROMPT, Point, Speed
from hakaru.language import say
from hakaru.memory.settings import F16_CACHE, Cache

SMALL_CACHE: Final[Cache] = ("q8_0", "q8_0")
"""The KV cache that is tried besides F16."""
WORTH: Final = 0.05
"""The part of a candidate's memory that SMALL_CACHE must save to be tried where F16 fits, too."""
SOON_S: Final = 2.0
"""Seconds that reading the prompt of a comparison behind a long context may take."""


def with_small_cache(candidate: Candidate, saved_bytes: int, limit_bytes: int) -> Candidate:
    """The same weights with SMALL_CACHE, which saves `saved_bytes`; not yet read."""
    total = candidate.total_bytes - saved_bytes
    return Candidate(
        type=candidate.type, weights_bytes=candidate.weights_bytes, bpw=candidate.bpw,
        total_bytes=total, fits=total <= limit_bytes, cache=SMALL_CACHE,
    )  # fmt: skip


def next_smaller(
    candidates: Collection[Candidate], best: Candidate, saved_bytes: int, limit_bytes: int
) -> Candidate | None:
    """The smallest candidate with SMALL_CACHE that is worth trying instead of `best`.

    With F16 its type is as fast as `best` and keeps the tier, or was beaten before that was known;
    with SMALL_CACHE it takes less memory than `best` by WORTH. None if there is no such candidate,
    or if SMALL_CACHE was slow here.
    """
    tried = {c.type: c for c in candidates if c.cache == SMALL_CACHE}
    if best.cache != F16_CACHE or any(is_slow(c) for c in tried.values()):
        return None
    alive = [
        c
        for c in candidates
        if c.cache == F16_CACHE and c.fits and (c.passes or c.beaten_by) and c.type not in tried
    ]
    smaller = [with_small_cache(c, saved_bytes, limit_bytes) for c in alive if as_fast(c, best)]
    worth = [c for c in smaller if c.total_bytes <= (1 - WORTH) * best.total_bytes]
    return min(worth, key=lambda c: c.total_bytes, default=None)


def is_slow(candidate: Candidate) -> bool:
    """Whether the candidate is out because SMALL_CACHE made it slow: it was timed and not read.

    A candidate that was beaten before it was read says nothing of the cache.
    """
    was_only_timed = candidate.speed is not None and candidate.quality is None
    return (
        candidate.cache == SMALL_CACHE
        and was_only_timed
        and bool(candidate.why)
        and not candidate.beaten_by
    )


def depth_for(small: Speed, usual: Speed, n_ctx: int) -> int:
    """Tokens of context behind which both caches are compared; 0 where there is no room for more
    than the usual prompt.

    A power of two: as many tokens as the slower cache reads in SOON_S, at most the largest of
    DEPTHS and half of the context.
    """
    rate = min(speed.prefill_tokens_per_s.value for speed in (small, usual))
    most = min(max(DEPTHS), n_ctx // 2, int(SOON_S * rate))
    return 2 ** (most.bit_length() - 1) if most > N_PROMPT else 0


def slowness(small: Speed, usual: Speed, deep: tuple[Point, Point] | None = None) -> str | None:
    """What the smaller cache does more slowly beyond the intervals, in words; None if nothing.

    Both caches are compared at reading a prompt and at answering: at an empty context, and with
    `deep` (the points of the smaller and the usual cache) also behind a long one.
    """
    if small.prefill_tokens_per_s.highest < usual.prefill_tokens_per_s.lowest:
        return say(
            "reads a prompt more slowly than with a KV cache of F16: {ours:.1f} against "
            "{theirs:.1f} tokens/s",
            ours=small.prefill_tokens_per_s.value,
            theirs=usual.prefill_tokens_per_s.value,
        )
    if small.decode_tokens_per_s.highest < usual.decode_tokens_per_s.lowest:
        return say(
            "answers more slowly than with a KV cache of F16: {ours:.1f} against {theirs:.1f} "
            "tokens/s",
            ours=small.decode_tokens_per_s.value,
            theirs=usual.decode_tokens_per_s.value,
        )
    if deep is None:
        return None
    ours, theirs = deep
    if ours.first_token_ms.lowest > theirs.first_token_ms.highest:
        return say(
            "behind {depth:,} tokens of context the first token takes longer than with a KV "
            "cache of F16: {ours:.0f} against {theirs:.0f} ms",
            depth=ours.depth,
            ours=ours.first_token_ms.value,
            theirs=theirs.first_token_ms.value,
        )
    if ours.decode_tokens_per_s.highest < theirs.decode_tokens_per_s.lowest:
        return say(
            "behind {depth:,} tokens of context it answers more slowly than with a KV cache of "
            "F16: {ours:.1f} against {theirs:.1f} tokens/s",
            depth=ours.depth,
            ours=ours.decode_tokens_per_s.value,
            theirs=theirs.decode_tokens_per_s.value,
        )
    return None
