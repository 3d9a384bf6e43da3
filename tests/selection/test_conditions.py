"""What a task means, and what a person may name."""

import pytest

from hakaru.errors import Misuse
from hakaru.models.benchmarks import TASKS, Task
from hakaru.selection.conditions import conditions_of
from hakaru.selection.traffic import USUAL, reason, traffic_for


@pytest.mark.parametrize("task", TASKS)
def test_every_task_has_a_shape_with_a_reason(task: Task) -> None:
    """And its context holds a whole turn."""
    traffic = USUAL[task]
    assert reason(task)
    assert traffic.n_ctx >= traffic.n_kept + traffic.n_prompt + traffic.n_answer
    assert traffic.n_ctx >= traffic.depth


def test_the_context_follows_from_the_shape() -> None:
    """6,000 + 1,000 + 1,000 tokens are 8,192; with a prompt of 20,000 they are 27,648."""
    assert traffic_for("chat").n_ctx == 8192
    assert traffic_for("chat", prompt_tokens=20000).n_ctx == 27648
    assert conditions_of("chat", prompt_tokens=20000).n_ctx == 27648
    assert conditions_of("chat", prompt_tokens=20000, n_ctx=4096).n_ctx == 4096


def test_a_wish_that_is_named_is_a_condition() -> None:
    """The usual pace is a wish; a pace that a person names is required."""
    assert conditions_of("chat").required() == []
    asked = conditions_of("chat", min_speed=20, first_token_s=2)
    assert asked.required() == ["decode_tokens_per_s", "first_token_s"]
    assert asked.traffic.decode_tokens_per_s == 20


def test_several_users_have_a_context_each() -> None:
    """Four times 8,192 tokens in four conversations."""
    settings = conditions_of("chat", users=4).settings("q8_0")
    assert (settings.n_ctx, settings.n_parallel, settings.tokens_each) == (32768, 4, 8192)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"users": 0}, "`users` is 0, expected a whole number from 1 to 256"),
        ({"prompt_tokens": -1}, "`prompt_tokens` is -1"),
        ({"license": "free"}, "`license` is 'free', expected one of any, open"),
        ({"language": "xx"}, "`language` is 'xx', expected one of en, ja"),
        ({"users": 200, "n_ctx": 131072}, "`n_ctx` 131072 for 200 users is more than"),
    ],
)
def test_what_makes_no_sense_is_refused(asked: dict[str, object], words: str) -> None:
    """With the value, and what was expected."""
    with pytest.raises(Misuse, match=words):
        conditions_of("chat", **asked)  # type: ignore[arg-type]


def test_a_task_that_nobody_knows_is_refused() -> None:
    """With those that there are."""
    with pytest.raises(Misuse, match="`task` is 'poems', expected one of chat, code"):
        conditions_of("poems")  # type: ignore[arg-type]
