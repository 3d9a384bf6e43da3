"""The rule decides: constraints first, then the fastest, then the smallest."""

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from hakaru.choosing.candidate import Candidate, Constraints
from hakaru.choosing.rule import beaten_by, choose, objection, why_chosen
from hakaru.evaluation.divergence import identical
from hakaru.evaluation.judgement import Judgement
from hakaru.evaluation.speed import Speed
from hakaru.evaluation.tiers import TIERS
from hakaru.units import Figure

ANYTHING = Constraints(tier=TIERS["balanced"], min_tokens_per_s=None, memory_bytes=2**40)


def candidate(
    type_: str, size: int, decode: tuple[float, float, float], *, passes: bool = True
) -> Candidate:
    def figure(low: float, value: float, high: float) -> Figure:
        return Figure(value=value, unit="tokens/s", source="measured", low=low, high=high)

    speed = Speed(decode_tokens_per_s=figure(*decode), prefill_tokens_per_s=figure(1, 1, 1),
        first_token_ms=figure(1, 1, 1),
                  n_prompt=1, n_predict=1, repeats=5)  # fmt: skip
    return Candidate(
        type=type_,
        weights_bytes=size,
        bpw=4.0,
        total_bytes=size,
        fits=True,
        quality=identical(),
        speed=speed,
        passes=passes,
    )


def test_the_fastest_wins_and_noise_does_not() -> None:
    """Faster by more than a tenth wins; within a tenth the smaller one wins; who fails never
    wins.
    """
    slow, fast = candidate("slow", 10, (9, 10, 11)), candidate("fast", 30, (19, 20, 21))
    close, failed = (
        candidate("close", 20, (18, 19, 20)),
        candidate("failed", 5, (90, 99, 100), passes=False),
    )
    assert choose([slow, fast, failed]) is fast
    assert choose([slow, fast, close, failed]) is close
    assert choose([failed]) is None
    assert "within 10%" in why_chosen(close, [slow, fast, close])
    assert "fastest of the 2" in why_chosen(fast, [slow, fast])
    assert "fastest of the 3" in why_chosen(replace(fast), [slow, fast, close]), (
        "a copy is the same candidate"
    )
    assert "only one" in why_chosen(slow, [slow, failed])
    assert "cannot win" in why_chosen(slow, [slow, failed, replace(failed, beaten_by="slow")])


def test_the_first_broken_constraint_is_named() -> None:
    """Memory, then quality, then speed; with both numbers where there are two."""
    found = candidate("x", 10 * 2**20, (9, 10, 11))
    assert objection(found, ANYTHING) is None
    assert "slower than the 10 tokens/s" in (
        objection(found, replace(ANYTHING, min_tokens_per_s=10.0)) or ""
    )
    assert objection(found, replace(ANYTHING, min_tokens_per_s=9.0)) is None
    small = replace(ANYTHING, memory_bytes=2**20)
    assert "needs 10.0 MiB, but 1.0 MiB" in (objection(replace(found, fits=False), small) or "")
    in_code = replace(found, judgement=Judgement("fail", broken="kld_mean, answers-ja"))
    assert "mean KLD, answers in Japanese breaks the bound of 0.03" in (
        objection(in_code, ANYTHING) or ""
    )


def test_who_cannot_win_is_read_no_further() -> None:
    """One that passes beats a slower one, and a larger one that is as fast; not while somebody else
    is faster than it.
    """
    passing = replace(candidate("P", 100, (49, 50, 51)), judgement=Judgement("pass"))
    slower, larger = candidate("S", 50, (30, 31, 32)), candidate("L", 200, (50, 51, 52))
    smaller = candidate("T", 50, (50, 51, 52))
    assert beaten_by(slower, [passing, slower]) is passing
    assert beaten_by(larger, [passing, larger]) is passing
    assert beaten_by(smaller, [passing, smaller]) is None
    runner = candidate("R", 300, (51, 56, 61))
    assert beaten_by(larger, [passing, larger, runner]) is None
    assert (
        beaten_by(larger, [passing, larger, replace(runner, judgement=Judgement("fail"))])
        is passing
    )
    assert (
        beaten_by(larger, [replace(passing, judgement=Judgement("inconclusive")), larger]) is None
    )
    wide = replace(candidate("W", 400, (18, 60, 90)), judgement=Judgement("pass"))
    assert beaten_by(slower, [passing, slower, wide]) is passing, "noise makes nobody as fast"


@given(
    st.lists(
        st.tuples(st.integers(1, 60), st.integers(0, 20), st.integers(1, 5), st.booleans()),
        min_size=2,
        max_size=6,
    ),
    st.data(),
)
def test_whoever_cannot_win_never_wins(
    levels: list[tuple[int, int, int, bool]], data: st.DataObject
) -> None:
    """However the open ones turn out, the rule takes none that was beaten."""
    all_ = [
        replace(
            candidate(str(i), size, (max(0, value - spread), value, value + spread)),
            judgement=Judgement("pass") if known else None,
        )
        for i, (value, spread, size, known) in enumerate(levels)
    ]
    lost = [c for c in all_ if c.verdict is None and beaten_by(c, all_)]
    passing = [c for c in all_ if c.verdict == "pass" or data.draw(st.booleans())]
    assert choose(passing) not in lost
