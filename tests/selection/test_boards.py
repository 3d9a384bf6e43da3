"""Which column leads, and which scores tie."""

import pytest
from msgspec.structs import replace

from hakaru.models.benchmarks import TASKS, Task
from hakaru.models.catalogue import KnownModel, catalogue_date, known_models
from hakaru.models.scores import Score, all_scores
from hakaru.selection.boards import a_year_before, columns_for, lead_for, noise_of, ties
from hakaru.selection.conditions import conditions_of

BY_ID = {model.id: model for model in known_models()}


def score_of(model_id: str, task: Task, language: str) -> Score | None:
    lead = lead_for(task, language)
    assert lead
    return lead.score_of(BY_ID[model_id], task)


def test_a_model_that_only_an_older_edition_measured_has_no_score() -> None:
    """Phi-4 is ahead of all in the edition of February, whose judge is another: it is not
    compared with models of May.
    """
    old = [s for s in all_scores() if s.repo == "microsoft/phi-4" and s.benchmark == "en_mtb/avg"]
    new = score_of("gemma-4-31b-it", "chat", "en")
    assert new and old and all(score.value > new.value for score in old)
    assert score_of("phi-4", "chat", "en") is None


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("language", ["en", "ja"])
def test_no_column_is_older_than_a_year(task: Task, language: str) -> None:
    """An edition of 2025 knows no model of 2026, and would recommend one of 2024."""
    for column in columns_for(task, language):
        dates = {score.board.date for score in all_scores() if score.board.id == column.board}
        assert min(dates)[:7] >= a_year_before(catalogue_date())


def test_documents_in_japanese_fall_back_to_english() -> None:
    """The only board in Japanese is of 2025; the English one leads and says its language."""
    lead = lead_for("rag", "ja")
    assert lead and lead.language == "en" and lead.benchmark == "hallucination_rate_percent"
    assert not columns_for("rag", "ja")


def test_no_board_speaks_for_pictures() -> None:
    """Then no column leads."""
    assert lead_for("vision", "en") is None


def test_noise_follows_from_the_number_of_questions() -> None:
    """198 questions at one half: 0.5 * sqrt(2 / 198) = 0.0503; 160 judged answers:
    0.2 * sqrt(2 / 160) = 0.0224.
    """
    gpqa = replace(_any("en_post/GPQA"), value=0.5)
    judged = replace(_any("en_mtb/avg"), value=0.8)
    assert noise_of(gpqa) == pytest.approx(0.0503, abs=1e-4)
    assert noise_of(judged) == pytest.approx(0.0224, abs=1e-4)
    assert ties(replace(judged, value=0.779), judged)
    assert not ties(replace(judged, value=0.777), judged)


def test_less_is_better_for_hallucinations() -> None:
    """3.7 % is ahead of 4.4 %, by more than chance."""
    few, many = (replace(_any("hallucination_rate_percent"), value=v) for v in (3.7, 4.4))
    assert not ties(many, few) and ties(few, many)


def _any(benchmark: str) -> Score:
    return next(score for score in all_scores() if score.benchmark == benchmark)


def test_a_model_that_gives_vectors_does_nothing_else() -> None:
    """And a model that writes gives no vectors."""
    assert conditions_of("chat").why_not(BY_ID["bge-m3"]) == "task"
    assert conditions_of("embedding").why_not(BY_ID["qwen3-8b"]) == "task"
    assert conditions_of("embedding").why_not(BY_ID["bge-m3"]) is None


@pytest.mark.parametrize(
    ("model_id", "asked", "reason"),
    [
        ("gemma-3-4b-it", {"license": "open"}, "licence"),
        ("qwen3-8b", {"license": "open"}, None),
        ("phi-4", {"n_ctx": 32768}, "trained_context"),
        ("olmo-2-1124-7b-instruct", {"language": "ja", "n_ctx": 2048}, "language"),
        ("sarashina2.2-3b-instruct-v0.1", {"language": "ja"}, None),
    ],
)
def test_why_a_model_is_not_looked_at(
    model_id: str, asked: dict[str, object], reason: str | None
) -> None:
    """Whatever the machine."""
    model: KnownModel = BY_ID[model_id]
    assert conditions_of("chat", **asked).why_not(model) == reason  # type: ignore[arg-type]
