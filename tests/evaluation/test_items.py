"""Our items: answers that are right pass, also in a sentence; wrong ones, and what is copied from
the prompt, do not.
"""

import json
from collections import Counter
from pathlib import Path

import pytest

from hakaru.evaluation.checks import code_of
from hakaru.evaluation.grading import grade
from hakaru.evaluation.sandbox import passes, why_no_sandbox
from hakaru.evaluation.tasks import Item, our_items

HERE = Path(__file__).parent
KEY: dict[str, dict[str, str]] = json.loads(
    (HERE / "task_answers.json").read_text(encoding="utf-8")
)
SENTENCES: dict[str, dict[str, list[str]]] = json.loads(
    (HERE / "task_sentences.json").read_text(encoding="utf-8")
)
WRONG: dict[str, dict[str, list[str]]] = {
    "en": {
        "instructions-01": ["hot", "Hot"],
        "instructions-03": ["Done."],
        "instructions-08": ["Certainly"],
        "instructions-09": ["END", "A horse. The end"],
        "instructions-13": ["color=Blue"],
        "extraction-02": ["3348.20", "2211"],
        "extraction-09": ["31", "14"],
        "extraction-14": ["2.4.0", "2.4.1 and 2.4.2"],
        "passage-08": ["A book can be renewed twice, a film not at all."],
        "passage-11": ["Yes", "No. Yes."],
        "passage-12": ["Our library lends books for four weeks and films for one week."],
        "passage-13": ["A", "A and B", "Pump A or pump B", "Pump A was louder than pump B."],
        "passage-15": [
            "B",
            "A and B",
            "The team therefore chose pump A for the hospital, and pump B for the quarry.",
        ],
        "passage-17": ["A", "A and B", "Both pump A and pump B"],
    },
    "ja": {
        "instructions-09": ["以上"],
        "instructions-13": ["color=Blue"],
        "extraction-09": ["31人", "14人"],
        "passage-04": ["13人"],
        "passage-07": ["四週間", "一週間か四週間"],
        "passage-11": ["はい", "いいえ、はい"],
        "passage-13": ["A", "AとB", "ポンプAとポンプB", "ポンプBよりポンプAです"],
        "passage-15": ["B", "AとB", "病院にはポンプA、採石場にはポンプBを選んだ。"],
        "passage-17": ["A", "AとB", "ポンプAとポンプB"],
        "passage-18": ["12倍"],
    },
}
LANGUAGES = ("en", "ja")
needs_sandbox = pytest.mark.skipif(
    why_no_sandbox() is not None, reason=f"no sandbox: {why_no_sandbox()}"
)


def copies(item: Item) -> set[str]:
    """What a model may give back instead of an answer: the prompt, what follows its first line, and
    its longest paragraph.
    """
    rest = item.prompt.partition("\n")[2].strip()
    return {item.prompt, rest or item.prompt, max(item.prompt.split("\n"), key=len)}


@pytest.mark.parametrize("language", LANGUAGES)
def test_our_items_are_many_and_of_every_kind(language: str) -> None:
    """At least 120 in each language, over seven domains, and both languages ask for the same."""
    items = our_items(language)
    assert len(items) >= 120
    assert set(Counter(i.domain for i in items).values()) == {18}
    assert {i.id: i.check.kind for i in items} == {i.id: i.check.kind for i in our_items("en")}
    assert len({i.prompt for i in items}) == len(items)


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_item_can_be_solved_and_failed(language: str) -> None:
    """The answers that we think right pass, and another item's answer of the same kind does not."""
    for item in our_items(language):
        if item.check.kind == "python":
            continue
        assert item.check.is_right
        assert item.check.is_right(KEY[language][item.id]), item.id
        assert not item.check.is_right("I do not know."), item.id
        assert not item.check.is_right(""), item.id


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_item_takes_its_own_prompt_for_an_answer(language: str) -> None:
    """Neither the whole of it nor the text that it asks about."""
    for item in our_items(language):
        assert [
            g.answer for g in grade([item] * len(copies(item)), sorted(copies(item))) if g.right
        ] == [], item.id


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_short_sentence_is_an_answer(language: str) -> None:
    """A good model that answers in a sentence is right; every item that reads a text has sentences
    here.
    """
    items = {item.id: item for item in our_items(language)}
    reading = {
        i.id
        for i in items.values()
        if i.domain in {"extraction", "passage"} and i.check.kind == "regex"
    }
    assert reading <= set(SENTENCES[language])
    for name, sentences in SENTENCES[language].items():
        assert [
            g.answer for g in grade([items[name]] * len(sentences), sentences) if not g.right
        ] == [], name


@pytest.mark.parametrize("language", LANGUAGES)
def test_both_options_or_half_an_answer_is_none(language: str) -> None:
    """Both pumps, another's number, the wrong case where the case is asked for, only what ends the
    answer.
    """
    items = {item.id: item for item in our_items(language)}
    for name, answers in WRONG[language].items():
        assert [g.answer for g in grade([items[name]] * len(answers), answers) if g.right] == [], (
            name
        )


@needs_sandbox
@pytest.mark.parametrize(
    "item", [i for i in our_items("en") if i.check.kind == "python"], ids=lambda i: i.id
)
def test_every_piece_of_code_can_be_written_and_failed(item: Item) -> None:
    """Our solution passes its tests, an empty one does not; the Japanese item has the same
    tests.
    """
    assert passes(code_of(f"```python\n{KEY['en'][item.id]}\n```"), item.check.tests)
    assert not passes("pass", item.check.tests)
    assert item.check.tests == next(i.check.tests for i in our_items("ja") if i.id == item.id)
