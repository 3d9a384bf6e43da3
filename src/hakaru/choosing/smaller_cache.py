"""Which candidates are tried with a smaller KV cache, and whether that makes them slower. Pure.

By the rule, the smaller of two equally fast candidates wins. So a smaller cache is tried wherever
it saves enough. It is timed first: on processors such a cache is slow to fill and to read, and then
no text need be read (docs/labbook.md, 2026-11-27).
"""

from collections.abc import Collection
from typing import Final

from hakaru.choosing.candidate import Candidate
from hakaru.choosing.rule import as_fast
from hakaru.evaluation.speed import DEPTHS, N_PROMPT, Point, Speed
from hakaru.language import say
from hakaru.memory.settings import F16_CACHE, Cache

SMALL_CACHE: Final[Cache] = ("q8_0", "q8_0")
"""The KV cache that is tried besides F16's."""
WORTH: Final = 0.05
"""Where F16's cache fits, too, the smaller one is tried if it saves so much of the whole."""
SOON_S: Final = 2.0
"""Seconds that the loop waits for a prompt to be read."""


def with_small_cache(candidate: Candidate, saved_bytes: int, limit_bytes: int) -> Candidate:
    """The same weights with SMALL_CACHE, which takes `saved_bytes` less, before it is read."""
    total = candidate.total_bytes - saved_bytes
    return Candidate(
        type=candidate.type, weights_bytes=candidate.weights_bytes, bpw=candidate.bpw,
        total_bytes=total, fits=total <= limit_bytes, cache=SMALL_CACHE,
    )  # fmt: skip


def next_smaller(
    found: Collection[Candidate], best: Candidate, saved_bytes: int, limit_bytes: int
) -> Candidate | None:
    """What to try next instead of `best`: the smallest with SMALL_CACHE that may be worth it.

    Its weights are as fast as `best`, keep the tier or may keep it, and with SMALL_CACHE all
    together is smaller than `best` by WORTH. None if there is none, or if SMALL_CACHE was slow
    here.
    """
    tried = {c.type: c for c in found if c.cache == SMALL_CACHE}
    if best.cache != F16_CACHE or any(is_slow(c) for c in tried.values()):
        return None
    alive = [
        c
        for c in found
        if c.cache == F16_CACHE and c.fits and (c.passes or c.beaten_by) and c.type not in tried
    ]
    smaller = [with_small_cache(c, saved_bytes, limit_bytes) for c in alive if as_fast(c, best)]
    worth = [c for c in smaller if c.total_bytes <= (1 - WORTH) * best.total_bytes]
    return min(worth, key=lambda c: c.total_bytes, default=None)


def is_slow(candidate: Candidate) -> bool:
    """Whether its cache was found to be slow: it was timed, and for that not read.

    A candidate that was beaten before it was read says nothing of its cache.
    """
    was_only_timed = candidate.speed is not None and candidate.quality is None
    return (
        candidate.cache == SMALL_CACHE
        and was_only_timed
        and bool(candidate.why)
        and not candidate.beaten_by
    )


def depth_for(small: Speed, usual: Speed, n_ctx: int) -> int:
    """Tokens of context behind which both caches are compared; 0 where they would tell nothing new.

    A power of two: as many tokens as the slower one reads in SOON_S, at most the largest of DEPTHS
    and half of the context.
    """
    rate = min(speed.prefill_tokens_per_s.value for speed in (small, usual))
    most = min(max(DEPTHS), n_ctx // 2, int(SOON_S * rate))
    return 2 ** (most.bit_length() - 1) if most > N_PROMPT else 0


def slowness(small: Speed, usual: Speed, deep: tuple[Point, Point] | None = None) -> str | None:
    """At what the smaller cache is slower beyond the intervals, in words; None where it is not.

    Both are compared at reading a prompt and at answering, at an empty context and, where `deep`
    (small and usual) is given, behind a long one.
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
