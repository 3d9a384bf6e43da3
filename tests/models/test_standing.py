"""Who is ahead by published scores: only where a board has measured both, and never by a sum."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from hakaru.models.catalogue import known_models
from hakaru.models.scores import all_scores, scores_of
from hakaru.models.standing import Columns, Verdict, columns_of, compare, frontier, place_of

ONE, TWO, THREE = ("board-1", "x"), ("board-1", "y"), ("board-2", "x")
REVERSED: dict[Verdict | None, Verdict | None] = {
    "better": "worse", "worse": "better", "equal": "equal", "mixed": "mixed", None: None,
}  # fmt: skip


def at(**values: float) -> dict[str, float]:
    return values


@pytest.mark.parametrize(
    ("a", "b", "verdict"),
    [
        ({ONE: at(s=2)}, {ONE: at(s=1)}, "better"),
        ({ONE: at(s=2), TWO: at(s=1)}, {ONE: at(s=1), TWO: at(s=1)}, "better"),
        ({ONE: at(s=2), TWO: at(s=1)}, {ONE: at(s=1), TWO: at(s=2)}, "mixed"),
        ({ONE: at(s=1)}, {ONE: at(s=1)}, "equal"),
        ({ONE: at(s=2)}, {TWO: at(s=1)}, None),
        ({ONE: at(s=2)}, {THREE: at(s=1)}, None),
        ({}, {ONE: at(s=1)}, None),
        # the setting that both share counts, whatever the other one says
        ({ONE: at(s=2, t=0)}, {ONE: at(s=1)}, "better"),
        # no shared setting: every figure must be ahead of every other
        ({ONE: at(s=2, t=4)}, {ONE: at(u=1, v=2)}, "better"),
        ({ONE: at(s=2, t=4)}, {ONE: at(u=1, v=3)}, "mixed"),
    ],
)
def test_two_models_are_compared_column_by_column(
    a: Columns, b: Columns, verdict: Verdict | None
) -> None:
    """Ahead somewhere and behind nowhere; the other way round, the reverse."""
    assert compare(a, b).verdict == verdict
    assert compare(b, a).verdict == REVERSED[verdict]


def test_columns_that_are_only_one_model_s_are_no_part_of_it() -> None:
    """What is shared is told."""
    comparison = compare({ONE: at(s=1), TWO: at(s=9)}, {ONE: at(s=2), THREE: at(s=0)})
    assert (comparison.verdict, comparison.shared) == ("worse", (ONE,))


def test_fewer_inventions_are_better() -> None:
    """A figure of which less is better is turned."""
    scores = {m.id: columns_of(scores_of(m, "rag", "en")) for m in known_models()}
    verdict = compare(scores["llama-3.3-70b-instruct"], scores["gemma-3-12b-it"]).verdict
    assert verdict == "better"  # 4.1 against 4.4 % invented, 99.5 against 97.4 % answered


def test_doubtful_figures_and_those_of_a_base_model_decide_nothing() -> None:
    """They are shown, but stand in no comparison."""
    score = next(s for s in all_scores() if s.board.id == "mteb")
    assert columns_of([score])
    assert columns_of([replace(score, doubtful=True), replace(score, grade="base model")]) == {}


def test_a_ring_of_boards_pushes_nobody_back() -> None:
    """a before b on one board, b before c on another, c before a on a third; d is behind a."""
    found = frontier(
        {
            "a": {ONE: at(s=2), ("board-3", "x"): at(s=1)},
            "b": {ONE: at(s=1), THREE: at(s=2)},
            "c": {THREE: at(s=1), ("board-3", "x"): at(s=2)},
            "d": {ONE: at(s=0)},
            "e": {},
        }
    )
    assert found.first == ("a", "b", "c")
    assert found.behind == {"d": ("a", "b")}
    assert found.unmeasured == ("e",)


COLUMNS = st.dictionaries(
    st.sampled_from([ONE, TWO, THREE]),
    st.dictionaries(st.sampled_from("st"), st.integers(0, 3), min_size=1),
)


@given(st.dictionaries(st.sampled_from("abcdef"), COLUMNS))
def test_everybody_has_a_place_and_somebody_is_first(models: dict[str, Columns]) -> None:
    """First, behind or unmeasured, each model once; whoever is ahead of a model behind is
    really better.
    """
    found = frontier(models)
    assert sorted([*found.first, *found.behind, *found.unmeasured]) == sorted(models)
    assert bool(found.first) == any(models.values())
    for name, ahead in found.behind.items():
        assert ahead
        assert all(compare(models[other], models[name]).verdict == "better" for other in ahead)


def test_a_place_is_told_with_the_board_s_number_of_models() -> None:
    """Rank 1 is the best, also where less is better."""
    (least, *_) = scores_of(next(m for m in known_models() if m.id == "phi-4"), "rag", "en")
    place = place_of(least, all_scores())
    assert (place.place, place.of) == (1, 52)
    assert least.value == min(
        s.value for s in all_scores() if s.benchmark == "hallucination_rate_percent"
    )
