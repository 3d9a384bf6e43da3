"""What windows prove of a tier: all text together, each kind of it, and how often that is wrong."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hakaru.evaluation.judgement import best_tier, judge
from hakaru.evaluation.tiers import TIERS, Tier
from hakaru.quantization.tier_target import SCALES, room_in_tier

BALANCED = TIERS["balanced"]
KINDS = ("prose-en", "code", "answers-en", "answers-ja")


def rows(
    n: int, *, kld: float, top1: float, ratio: float, seed: int = 0, spread: float = 0.5
) -> list[dict[str, Any]]:
    """Windows of about a hundred tokens whose losses are gamma and whose hits are binomial, with
    these means.
    """
    dice = np.random.default_rng(seed)
    found = []
    for _ in range(n):
        tokens = int(dice.integers(80, 113))
        found.append({
            "n": tokens, "kld": tokens * kld * dice.gamma(1 / spread**2, spread**2),
            "agreed": int(dice.binomial(tokens, top1)), "nll_reference": 200.0,
            "nll_candidate": 200.0 + tokens * float(np.log(ratio)) + dice.normal(0, 0.3),
        })  # fmt: skip
    return found


def kinds(n: int) -> list[str]:
    return [KINDS[i % len(KINDS)] for i in range(n)]


@pytest.mark.parametrize(
    ("kld", "top1", "ratio", "verdict", "broken"),
    [
        (0.012, 0.96, 1.01, "pass", None),
        (0.028, 0.96, 1.01, "inconclusive", None),
        (0.060, 0.96, 1.01, "fail", "kld_mean"),
        (0.012, 0.86, 1.01, "fail", "top1_agreement"),
        (0.012, 0.96, 1.10, "fail", "perplexity_ratio"),
        (0.012, 0.922, 1.01, "inconclusive", None),
    ],
)
def test_every_bound_counts(
    kld: float, top1: float, ratio: float, verdict: str, broken: str | None
) -> None:
    """Passing takes all of them, failing one, which is named; near a bound nothing is known."""
    found = judge(rows(160, kld=kld, top1=top1, ratio=ratio), kinds(160), BALANCED)
    assert (found.verdict, found.broken) == (verdict, broken)


def test_one_kind_of_text_can_fail_a_tier() -> None:
    """Where the rest is so good that the mean passes."""
    good, bad = (
        rows(120, kld=0.004, top1=0.98, ratio=1.0),
        rows(40, kld=0.06, top1=0.95, ratio=1.0, seed=1),
    )
    mixed = [row for i in range(40) for row in (*good[3 * i : 3 * i + 3], bad[i])]
    found = judge(mixed, kinds(160), BALANCED)
    assert (found.verdict, found.broken) == ("fail", "kld_mean, answers-ja")
    assert judge(good, kinds(120), BALANCED).verdict == "pass"


def test_a_kind_of_text_that_seems_too_bad_holds_passing_back_and_is_named() -> None:
    """There is more to read: no passing yet. There is none: the whole passes, and the kind stands
    beside it.
    """
    good, bad = (
        rows(45, kld=0.004, top1=0.98, ratio=1.0),
        rows(15, kld=0.04, top1=0.95, ratio=1.0, seed=1),
    )
    mixed = [row for i in range(15) for row in (*good[3 * i : 3 * i + 3], bad[i])]
    found = judge(mixed, kinds(60), BALANCED)
    assert (found.verdict, found.broken, found.suspects) == ("pass", None, ("answers-ja",))
    assert judge(mixed, kinds(120), BALANCED).verdict == "inconclusive"
    assert judge(good, ["code"] * 120, BALANCED).suspects == ()


@pytest.mark.parametrize("n", [1, 2, 11])
def test_a_few_windows_of_a_kind_prove_nothing(n: int) -> None:
    """However bad they look: before, one window without an interval could fail a tier."""
    good, bad = (
        rows(100, kld=0.004, top1=0.98, ratio=1.0),
        rows(n, kld=0.3, top1=0.98, ratio=1.0, seed=1),
    )
    assert judge([*good, *bad], [*(["code"] * 100), *(["own"] * n)], BALANCED).verdict != "fail"


def test_nothing_read_is_nothing_known() -> None:
    """And so are fewer than twelve windows."""
    assert judge([], [], BALANCED).verdict == "inconclusive"
    assert (
        judge(rows(11, kld=9.0, top1=0.1, ratio=9.0), kinds(11), BALANCED).verdict == "inconclusive"
    )


def test_at_the_bound_few_fail_though_every_kind_is_a_chance_to() -> None:
    """1,000 files whose loss is at the bound in every kind of text, whoever looks after every
    window: at most 5% fail or pass.
    """
    verdicts = [
        judge(
            rows(96, kld=0.03, top1=0.95, ratio=1.01, seed=i, spread=1.0), kinds(96), BALANCED
        ).verdict
        for i in range(1000)
    ]
    assert verdicts.count("fail") / 1000 <= 0.05
    assert verdicts.count("pass") / 1000 <= 0.05


@given(
    st.floats(0.0005, 0.4),
    st.floats(0.7, 0.999),
    st.floats(0.99, 1.15),
    st.integers(0, 99),
    st.sampled_from(list(TIERS.values())),
)
def test_the_best_tier_never_contradicts_the_verdict(
    kld: float, top1: float, ratio: float, seed: int, tier: Tier
) -> None:
    """A tier that passes is the best one or a lower one."""
    sums = rows(60, kld=kld, top1=top1, ratio=ratio, seed=seed)
    best, names = best_tier(sums, kinds(60)), list(TIERS)
    if judge(sums, kinds(60), tier).verdict == "pass":
        assert best is not None
        assert names.index(best) <= names.index(tier.name)
    if best:
        assert judge(sums, kinds(60), TIERS[best]).verdict == "pass"


def test_the_room_in_a_tier_is_what_a_proof_leaves() -> None:
    """A loss scaled by it is proven on windows like these, nearly always; one scaled by twice as
    much is not.
    """
    sums = rows(24, kld=0.010, top1=0.975, ratio=1.003)
    room = room_in_tier(sums, BALANCED, 160)
    assert 1.0 < room < 3.0
    proven, beyond = (
        [
            judge(
                rows(
                    160, kld=0.010 * s, top1=1 - 0.025 * s**0.5, ratio=1 + 0.003 * s, seed=100 + i
                ),
                kinds(160),
                BALANCED,
            ).verdict
            for i in range(40)
        ]
        for s in (room, 2.2 * room)
    )
    assert proven.count("pass") >= 30
    assert beyond.count("pass") <= 2


def test_where_nothing_helps_the_room_is_the_least() -> None:
    """A file that is worse than any scale can mend."""
    assert room_in_tier(rows(24, kld=3.0, top1=0.2, ratio=2.0), BALANCED, 160) == SCALES[-1]
