"""Answers are graded in time, and two models are compared on the same tasks in pairs."""

import json
import time
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from msgspec.structs import replace

from hakaru.cli.tell.tasks import print_tasks
from hakaru.errors import Misuse
from hakaru.evaluation.findings import tasks_as_json
from hakaru.evaluation.grading import Graded, accuracy, grade, never_right, pair
from hakaru.evaluation.schemas import MATCH_SECONDS
from hakaru.evaluation.tasks import Item, our_items, parse_items, read_items
from hakaru.language import use_language

CATASTROPHE = {"type": "regex", "pattern": r"^(a|aa)+$"}
ENDLESS = "a" * 60 + "!"
EXACT = {"type": "exact", "answer": "a"}


@pytest.mark.parametrize(
    ("check", "answer"),
    [
        (CATASTROPHE, ENDLESS),
        (
            {"type": "json", "schema": {"type": "string", "pattern": CATASTROPHE["pattern"]}},
            json.dumps(ENDLESS),
        ),
        (
            {"type": "json", "schema": {"patternProperties": {CATASTROPHE["pattern"]: True}}},
            json.dumps({ENDLESS: 1}),
        ),
        (
            {
                "type": "json",
                "schema": {
                    "additionalProperties": False,
                    "patternProperties": {CATASTROPHE["pattern"]: True},
                },
            },
            json.dumps({ENDLESS: 1}),
        ),
    ],
)
def test_a_pattern_that_takes_for_ever_is_a_wrong_answer(
    check: dict[str, Any],
    answer: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A pattern of a task and a pattern of a schema end in time, in any thread; the reader is told,
    and the next answer is graded. The time is a tenth of the usual.
    """
    for module in ("checks", "schemas"):
        monkeypatch.setattr(f"hakaru.evaluation.{module}.MATCH_SECONDS", MATCH_SECONDS / 10)
    (item,) = some_items(check)
    graded: list[Graded] = []
    thread = Thread(target=lambda: graded.extend(grade([item, *some_items(EXACT)], [answer, "a"])))
    begun = time.process_time()
    thread.start()
    thread.join()
    assert time.process_time() - begun < 1.5 * MATCH_SECONDS / 10
    assert [(g.right, g.timed_out) for g in graded] == [(False, True), (True, False)]
    assert graded[0].as_json()["timed_out"] is True
    print_tasks(graded, [])
    assert (
        "1 answers count as wrong because their checks took more than 2 seconds (line 1)"
        in capsys.readouterr().out
    )
    with pytest.raises(Misuse, match="x, line 1: the check takes more than 2 seconds"):
        parse_items("x", json.dumps({"prompt": "a", "check": check, "example": answer}))


def ids(items: list[Item]) -> list[str]:
    return [item.id for item in items]


def test_own_tasks_that_no_model_got_right_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """How many and which, of the person's file alone, not where a model got it right or nothing was
    checked.
    """
    file = tmp_path / "own.jsonl"
    file.write_text(
        "".join(
            f'{{"id": "t{i}", "prompt": "a", "check": {{"type": "exact", "answer": "a"}}}}\n'
            for i in range(9)
        ),
        encoding="utf-8",
    )
    own = read_items(file)
    ours = our_items("en")[0]
    theirs = [*grade(own, ["b"] * 8 + ["a"]), *grade([ours], ["b"])]
    mine = [*grade(own, ["a", *"bbbbbb", "b", "b"]), *grade([ours], ["b"])]
    mine[1] = replace(mine[1], right=None)
    assert ids(never_right(mine, theirs)) == ["t2", "t3", "t4", "t5", "t6", "t7"]
    assert tasks_as_json(mine, theirs)["never_right"] == ids(never_right(mine, theirs))
    print_tasks(mine, theirs)
    assert (
        "6 of your own tasks were answered right by no model (t2, t3, t4, t5, t6, …); it may be "
        "their checks that are wrong." in capsys.readouterr().out
    )
    assert ids(never_right(mine)) == ["t2", "t3", "t4", "t5", "t6", "t7", "t8"]
    assert never_right(grade([ours], ["b"])) == []
    use_language("ja")
    print_tasks(mine, theirs)
    assert "自分のタスクのうち 6 件は" in capsys.readouterr().out


def test_an_example_is_asked_for_where_nothing_shows_that_a_check_can_pass(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Only of tasks that no model got right, and only where the check does not hold a right
    answer.
    """
    never = {"type": "regex", "pattern": "(?!)"}
    lines = [
        {"id": "never", "prompt": "a", "check": never},
        {"id": "shown", "prompt": "a", "example": "b", "check": {"type": "regex", "pattern": "b"}},
        {"id": "exact", "prompt": "a", "check": {"type": "exact", "answer": "b"}},
        {"id": "right", "prompt": "a", "check": {"type": "regex", "pattern": "c"}},
    ]
    file = tmp_path / "own.jsonl"
    file.write_text("\n".join(json.dumps(line) for line in lines), encoding="utf-8")
    print_tasks(grade(read_items(file), ["c"] * 4), [])
    told = capsys.readouterr().out
    assert "3 of your own tasks were answered right by no model (never, shown, exact)" in told
    assert "Nothing shows that any answer can pass the checks of never: write an 'example'" in told


def some_items(check: dict[str, Any]) -> list[Item]:
    return parse_items("x", json.dumps({"prompt": "a", "check": check}))


def graded(*rights: bool | None) -> list[Graded]:
    item = parse_items("x", '{"prompt": "a", "check": {"type": "exact", "answer": "a"}}')[0]
    return [Graded(item=item, answer="", right=right) for right in rights]


def test_pairs_count_flips_and_say_what_could_have_been_seen() -> None:
    """Ten lost and one won of 100 is worse (p .0117 by hand: 2 × (1 + 11) / 2^11); five against
    four is no difference; what cannot be checked counts on neither side.
    """
    both = [True] * 60 + [False] * 29
    worse = pair(graded(*both, *[True] * 10, False), graded(*both, *[False] * 10, True))
    assert (worse.n, worse.lost, worse.won, worse.verdict) == (100, 10, 1, "worse")
    assert worse.p == pytest.approx(24 / 2**11)
    even = pair(graded(*[True] * 5, *[False] * 4, None), graded(*[False] * 5, *[True] * 4, True))
    assert (even.n, even.lost, even.won, even.verdict) == (9, 5, 4, "cannot tell")
    same = pair(graded(True, False), graded(True, False))
    assert (same.p, same.verdict) == (1.0, "cannot tell")
    assert pair(graded(*[True] * 100), graded(*[True] * 100)).detectable == 6 / 100


def test_accuracy_has_wilson_s_interval() -> None:
    """8 of 10: .49 to .94 (Wilson, as in textbooks)."""
    figure = accuracy(graded(*[True] * 8, *[False] * 2, None))
    assert figure
    assert accuracy(graded(None, None)) is None, "nothing was measured"
    assert (figure.value, round(figure.lowest, 2), round(figure.highest, 2)) == (0.8, 0.49, 0.94)
