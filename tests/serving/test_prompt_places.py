"""Where a prompt goes: by what is known of its beginning, and by who is busy."""

import json
from typing import Any

import pytest

from hakaru.serving.prompt_places import (
    MOST_BLOCKS,
    REMEMBERED,
    Beginning,
    Load,
    PromptPlaces,
    beginnings_of,
    chosen,
)


def body(**fields: Any) -> bytes:
    return json.dumps(fields).encode()


def turns(*texts: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text} for text in texts]


def test_a_conversation_that_goes_on_begins_as_before() -> None:
    """Whatever interface it is written for; tools are read before the turns."""
    for one, other in [
        (body(messages=turns("a")), body(messages=turns("a", "b"))),
        (body(system="s", messages=turns("a")), body(messages=turns("a", "b"), system="s")),
        (body(input=turns("a")), body(input=turns("a", "b"), instructions=None)),
        (body(prompt="x" * 3000)[:-2] + b'"}', body(prompt="x" * 5000)),
    ]:
        first, second = beginnings_of("m", one), beginnings_of("m", other)
        assert first and first[0] == second[0]
        assert first[-1] != second[-1] or len(first) < len(second)


def test_another_model_another_system_prompt_or_other_tools_are_another_beginning() -> None:
    """Nothing of the cache can be used then."""
    plain = beginnings_of("m", body(messages=turns("a")))
    assert beginnings_of("n", body(messages=turns("a")))[0] != plain[0]
    assert beginnings_of("m", body(messages=turns("a"), tools=[{"name": "f"}]))[0] != plain[0]
    assert beginnings_of("m", body(messages=turns("a"), system="s"))[0] != plain[0]


@pytest.mark.parametrize("odd", [b"", b"[]", b'{"messages": 5}', b"[" * 100_000, b"\xff"])
def test_what_is_no_prompt_has_no_beginning(odd: bytes) -> None:
    """Or one that no prompt has; the backend says what is wrong with it."""
    assert len(beginnings_of("m", odd)) <= 1


def test_a_long_prompt_is_told_apart_by_its_first_megabytes() -> None:
    """The rest costs no time."""
    assert len(beginnings_of("m", body(prompt="x" * (MOST_BLOCKS + 9) * 1024))) == MOST_BLOCKS


def test_half_of_a_prompt_must_be_known() -> None:
    """A system prompt that all share draws nobody, and short prompts go anywhere."""
    places = PromptPlaces()
    system = Beginning(1, 1000)
    places.remember([system, Beginning(2, 1500)], "a")
    assert places.known([system, Beginning(2, 1500), Beginning(3, 1600)]) == "a"
    assert places.known([system, Beginning(4, 1900)]) == "a"
    assert places.known([system, Beginning(4, 2100)]) is None
    places.remember([Beginning(5, 100)], "b")
    assert places.known([Beginning(5, 100)]) is None


def test_what_went_longest_ago_is_forgotten() -> None:
    """So the memory has a bound."""
    places = PromptPlaces()
    places.remember([Beginning(0, 1000)], "a")
    places.remember([Beginning(i, 1000) for i in range(1, REMEMBERED + 1)], "b")
    assert places.known([Beginning(0, 1000)]) is None
    assert places.known([Beginning(1, 1000)]) == "b"


def test_the_least_busy_is_asked_by_its_slots() -> None:
    """Two of four is less than one of one; of equals the one that was asked least."""
    assert chosen([Load("a", 1, 1, 0), Load("b", 2, 4, 0)], None) == "b"
    assert chosen([Load("a", 0, 4, 7), Load("b", 0, 4, 3)], None) == "b"


def test_who_knows_the_beginning_is_left_where_it_is_clearly_busier() -> None:
    """By more than half of its slots."""
    assert chosen([Load("a", 2, 4, 0), Load("b", 0, 4, 0)], "a") == "a"
    assert chosen([Load("a", 3, 4, 0), Load("b", 0, 4, 0)], "a") == "b"
    assert chosen([Load("a", 1, 1, 0), Load("b", 0, 1, 0)], "a") == "b"
    assert chosen([Load("b", 0, 1, 0)], "a") == "b"
