"""Who runs in a race, and on which tasks."""

import pytest

from hakaru.errors import Misuse
from hakaru.selection.choose import choose
from hakaru.selection.racers import KINDS, check_task, in_turn, race_tasks


@pytest.mark.parametrize("hardware", ["12GiB RAM", "RTX 4090", "2x RTX 3090 + 64GiB RAM"])
def test_the_recommended_row_runs_against_what_scores_leave_open(hardware: str) -> None:
    """Rows that tie, and rows that the board did not measure, in turns; different models, of those
    that are shown, none of which misses a wish.
    """
    chosen = choose("chat", hardware=hardware)
    first, *others = in_turn(chosen)
    assert first is chosen.recommended
    assert len({row.model.id for row in (first, *others)}) == 1 + len(others)
    for row in (first, *others):
        assert row in chosen.rows and not row.misses and not row.is_below_four_bits
    runs = others[:2]
    assert len(runs) == 2
    assert all(row.score is None or chosen.search.is_tied(row) for row in runs)
    if any(row.score and chosen.search.is_tied(row) for row in others):
        assert runs[0].score and runs[1].score is None


def test_without_open_questions_the_next_best_runs() -> None:
    """Where no shown row ties or is unmeasured, the next by its score."""
    chosen = choose("chat", hardware="RTX 3060 12GB", top=2)
    first, *others = in_turn(chosen)
    assert len(others) <= 1 and first is chosen.recommended
    assert in_turn(choose("chat", hardware="1GiB RAM", n_ctx=131072)) == []


def test_the_tasks_are_those_that_speak_for_the_task() -> None:
    """In the language asked for; all of ours for a chat; what a person names is taken as it is."""
    chat, code = race_tasks("chat", "ja", ()), race_tasks("code", "en", ())
    assert len(chat.items) == 126 and chat.language == "ja"
    assert {item.domain for item in code.items} == {"code"} and code.digest != chat.digest
    assert len(race_tasks("code", "en", ("ours",)).items) == 126
    kinds = {item.domain for item in race_tasks("chat", "en", ()).items}
    assert all(set(some) <= kinds for some in KINDS.values())


def test_pictures_and_vectors_are_not_raced() -> None:
    """No answer in text speaks for them."""
    check_task("chat")
    for task in ("vision", "embedding"):
        with pytest.raises(Misuse, match=f"say nothing of {task}"):
            check_task(task)
