"""Published scores: as the boards published them, with their source, and for nothing else than they
measured.
"""

import re
from collections.abc import Sequence

import pytest
from scipy.stats import spearmanr

from hakaru.models.benchmarks import TABLE, TASKS, Task, benchmarks_for, why_no_benchmark
from hakaru.models.catalogue import KnownModel, known_models
from hakaru.models.languages import speaks
from hakaru.models.scores import Score, all_boards, all_scores, scores_in, scores_of

BY_ID = {model.id: model for model in known_models()}
CARRIED = {"CC-BY-4.0", "Apache-2.0", "MIT", "CC0-1.0"}


def told(scores: Sequence[Score]) -> list[tuple[str, str, str, float]]:
    return [(s.board.id, s.benchmark, s.setting, s.value) for s in scores]


def test_every_figure_has_its_source_its_date_and_a_licence_to_carry_it() -> None:
    """No board whose tables may not be carried is among them, and none lacks its maker."""
    assert len(all_scores()) == 4712
    assert len(all_boards()) == 8
    for board in all_boards():
        assert board.licence in CARRIED
        assert board.by and board.url.startswith("https://github.com/")
        assert "@" in board.source
        assert not re.search("artificial.?analysis|livebench|nejumi", str(board), re.IGNORECASE)
    assert all(re.fullmatch(r"20\d\d-\d\d-\d\d", score.date) for score in all_scores())


def test_a_figure_is_within_its_scale() -> None:
    """Shares from 0 to 1 and percentages; a correlation may be below 0."""
    for score in all_scores():
        assert (0 if score.unit == "percent" else -1) <= score.value
        assert score.value <= {"0-1": 1, "percent": 100}[score.unit], score


def test_the_figures_are_those_of_the_boards() -> None:
    """Read by hand from the boards' files."""
    assert told(scores_of(BY_ID["gemma-3-27b-it"], "rag", "en")) == [
        ("vectara", "hallucination_rate_percent", "as served by provider", 7.4),
        ("vectara", "answer_rate_percent", "as served by provider", 98.8),
    ]
    assert told(scores_of(BY_ID["qwq-32b"], "code", "en")) == [
        ("aider-polyglot", "polyglot_pass_rate_2_percent", "edit format diff", 20.9)
    ]
    lower = scores_of(BY_ID["gemma-3-27b-it"], "rag", "en")[0]
    assert lower.as_json() == {
        "metric": "hallucination_rate_percent", "value": 7.4, "unit": "percent",
        "higher_is_better": False, "setting": "as served by provider",
        "source": "Vectara hallucination leaderboard",
        "url": "https://github.com/vectara/hallucination-leaderboard", "licence": "Apache-2.0",
        "date": "2026-03-10", "grade": "this model", "listed_as": "google/gemma-3-27b-it",
        "language": "en", "doubtful": False,
    }  # fmt: skip


def test_where_a_board_has_two_figures_both_are_given() -> None:
    """Qwen3 8B calls functions with and without the format for it; nothing is averaged."""
    scores = scores_of(BY_ID["qwen3-8b"], "tool-use")
    assert {s.setting for s in scores} == {"FC", "Prompt"}
    assert len(scores) == 2 * len(benchmarks_for("tool-use", "en"))


def test_a_model_without_a_row_has_no_score_whatever_its_size() -> None:
    """Its neighbours in size have some."""
    assert scores_of(BY_ID["granite-4.2-8b"]) == ()
    assert scores_of(BY_ID["qwen3-vl-8b-instruct"], "vision") == ()
    assert sum(bool(scores_of(model)) for model in known_models()) == 128


def test_one_language_is_no_evidence_for_another() -> None:
    """Faithfulness was measured on English documents only."""
    assert scores_of(BY_ID["qwen3-8b"], "rag", "en")
    assert scores_of(BY_ID["qwen3-8b"], "rag", "ja") == ()
    assert {s.language for s in scores_of(BY_ID["qwen3-8b"], "chat")} == {"en", "ja"}


def test_a_base_model_speaks_only_where_its_fine_tune_has_no_figure() -> None:
    """And then its figures are graded so."""
    fine_tune = BY_ID["cat-paws-8b"]
    grades = {s.grade for s in scores_of(fine_tune, "chat", "ja")}
    assert grades == {"base model"}
    assert scores_in(fine_tune, "ja") == ()
    with_own = BY_ID["elyza-thinking-1.0-qwen-32b"]
    assert with_own.base_repo == "Qwen/Qwen2.5-32B-Instruct"
    assert {s.grade for s in scores_of(with_own, "chat", "ja")} == {"this model"}


def test_a_score_belongs_to_the_repository_that_the_board_means() -> None:
    """Boards write names in small letters, and old names of a repository that was renamed."""
    renamed = scores_of(BY_ID["llama-3.1-8b-instruct"], "chat", "ja")
    assert {s.listed_as for s in renamed} == {"meta-llama/meta-llama-3.1-8b-instruct"}
    served = scores_of(BY_ID["llama-4-maverick-17b-128e-instruct"], "rag")
    assert served[0].listed_as.endswith("-FP8")  # so a reader sees that it was quantized


@pytest.mark.parametrize("bench", TABLE, ids=lambda b: f"{b.task}-{b.language}-{b.name}")
def test_a_benchmark_of_the_table_stands_on_a_board(bench: object) -> None:
    """No line of the table is empty."""
    assert any(
        s.benchmark == bench.name and s.board.id.startswith(bench.board)  # type: ignore[attr-defined]
        for s in all_scores()
    )


def test_averages_of_a_board_speak_for_no_task() -> None:
    """They mix tasks; the judged conversations are one test with several kinds of questions."""
    averages = {b.name for b in TABLE if re.search(r"avg|overall", b.name, re.IGNORECASE)}
    assert averages == {"ja_mtb/avg", "ja_mtb/JMT Avg", "en_mtb/avg"}


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("language", ["en", "ja"])
def test_a_task_without_a_board_says_so(task: Task, language: str) -> None:
    """Exactly where there is none."""
    reason = why_no_benchmark(task, language)
    assert (reason is None) == bool(benchmarks_for(task, language))
    missing = {("vision", "en"), ("vision", "ja"), ("tool-use", "ja")}
    assert (reason is not None) == ((task, language) in missing)


def test_a_language_is_told_with_the_reason() -> None:
    """The strongest first; where nothing is known, nothing is said."""
    assert speaks(BY_ID["qwen3-swallow-8b-rl-v0.2"], "ja") == ("trained", "listed", "measured")
    assert speaks(BY_ID["gemma-3-27b-it"], "ja") == ("measured",)
    assert speaks(BY_ID["granite-4.2-8b"], "ja") == ("listed",)
    assert speaks(BY_ID["falcon-h1-7b-instruct"], "ja") == ()


def column(board: str, benchmark: str) -> dict[str, float]:
    """A column's figures by repository, turned so that more is better."""
    return {
        (s.repo or s.listed_as).lower(): s.value if s.higher_is_better else -s.value
        for s in all_scores()
        if (s.board.id, s.benchmark) == (board, benchmark) and not s.doubtful
    }


def rank_correlation(a: dict[str, float], b: dict[str, float]) -> tuple[int, float]:
    shared = sorted(a.keys() & b.keys())
    rho = spearmanr([a[name] for name in shared], [b[name] for name in shared]).statistic
    return len(shared), round(float(rho), 2)


@pytest.mark.parametrize(
    ("a", "b", "n", "rho"),
    [
        (("swallow-2026-05", "ja_post/avg"), ("swallow-2026-05", "ja_mtb/avg"), 61, 0.90),
        (("swallow-2026-05", "ja_post/JHumanEval"), ("swallow-2026-05", "en_post/LCB"), 61, 0.94),
        (("swallow-2026-05", "ja_post/GPQA"), ("swallow-2026-05", "en_post/GPQA"), 61, 0.96),
        (("swallow-2025-06", "ja_basic/Ja Avg"), ("open-llm-2", "MMLU-PRO"), 10, 0.99),
        (("swallow-2026-02", "en_post/avg"), ("open-llm-2", "MMLU-PRO"), 7, 0.93),
        (("swallow-2026-05", "ja_post/avg"), ("vectara", "hallucination_rate_percent"), 14, -0.69),
        (("swallow-2026-05", "ja_mtb/avg"), ("vectara", "hallucination_rate_percent"), 14, -0.71),
        (("swallow-2026-05", "en_post/LCB"), ("vectara", "hallucination_rate_percent"), 14, -0.70),
    ],
)
def test_boards_agree_but_faithfulness_runs_against_them(
    a: tuple[str, str], b: tuple[str, str], n: int, rho: float
) -> None:
    """The figures of docs/labbook.md, from the table that is carried."""
    assert rank_correlation(column(*a), column(*b)) == (n, rho)


def test_the_doubtful_figures_are_named_and_no_others() -> None:
    """Two columns whose runs of one model differ by up to .34, and models that reason first on a
    board that orders these against all others.
    """
    columns = {b.name for b in TABLE if b.doubtful}
    assert columns == {"IFEval", "MATH Level 5"}
    rows = {s.listed_as for s in all_scores() if s.doubtful}
    assert len(rows) == 7
    assert all("-r1-distill-" in name or "qwq" in name for name in rows)


def test_a_model_outside_the_catalogue_finds_its_scores_by_its_repository() -> None:
    """So an entry that a person adds is compared, too."""
    stranger = KnownModel(
        id="mine", name="mine", architecture="qwen2", hyperparameters={}, n_params=1, n_vocab=1,
        tied=False, license=None, hf_repo="ABEJA/ABEJA-QwQ32b-Reasoning-Japanese-v1.0",
    )  # fmt: skip
    assert scores_of(stranger, "chat", "ja")
