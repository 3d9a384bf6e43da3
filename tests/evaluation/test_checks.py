"""Checks: fair to how models answer, strict with what is no answer, and refused where every answer
or none would pass.
"""

from typing import Any

import pytest

from hakaru.errors import Misuse
from hakaru.evaluation.checks import LONGEST, check_of, code_of
from hakaru.evaluation.numerals import final_number
from hakaru.evaluation.schemas import first_json


def right(check: dict[str, Any], answer: str) -> bool:
    made = check_of(check)
    assert made.is_right
    return made.is_right(answer)


def test_contains_finds_a_text_in_every_spelling() -> None:
    """Case, full and half width and line breaks do not count; of a list, every text is there."""
    assert right({"type": "contains", "answer": "Lisbon"}, "It is ＬＩＳＢＯＮ, of course.")
    assert right({"type": "contains", "answer": "リスボン"}, "答えはﾘｽﾎﾞﾝです。")
    assert right({"type": "contains", "answer": "new york"}, "New\nYork")
    assert not right({"type": "contains", "answer": "Lisbon"}, "Porto")
    both = {"type": "contains", "answer": ["ice", "steam"]}
    assert right(both, "Steam and ice")
    assert not right(both, "ice")
    cased = {"type": "contains", "answer": "US", "ignore_case": False}
    assert right(cased, "the US")
    assert not right(cased, "join us")
    assert not right({"type": "contains", "answer": "late"}, "x" * LONGEST + "late")


@pytest.mark.parametrize(
    ("check", "words"),
    [
        ({}, "a text or a list of texts"),
        ({"answer": 5}, "a text or a list of texts"),
        ({"answer": []}, "a text or a list of texts"),
        ({"answer": ["a", " "]}, "every answer has it"),
        ({"answer": "a", "ignore_case": "no"}, "expected true or false"),
        ({"answer": "a" * (LONGEST + 1)}, "has 20,001 characters"),
    ],
)
def test_contains_is_refused_where_it_means_nothing(check: dict[str, Any], words: str) -> None:
    """A text that every answer has, or none can have."""
    with pytest.raises(Misuse, match=words):
        check_of({"type": "contains", **check})


def test_checks_are_fair_to_how_models_answer() -> None:
    """Quotes, case, full-width digits, thousands, a sentence around the number, a fence around the
    JSON.
    """
    assert right({"type": "exact", "answer": "Lisbon"}, ' "lisbon." ')
    assert not right({"type": "exact", "answer": "Lisbon"}, "Lisbon or Porto")
    assert right({"type": "numeric", "answer": 1080}, "９本で１，０８０円です。")
    assert right({"type": "numeric", "answer": -3.5, "tolerance": 0.1}, "so x = −3.45")
    assert not right({"type": "numeric", "answer": 5}, "5 or 6")
    assert final_number("from 3 to 1,250.75") == 1250.75
    schema = {
        "type": "json",
        "schema": {"type": "object", "required": ["a"], "properties": {"a": {"const": 1}}},
    }
    assert right(schema, 'Here you are:\n```json\n{"a": 1}\n```')
    assert not right(schema, '{"a": 2}')
    assert not right(schema, "{'a': 1}")
    assert first_json("no [ json { here [1]") == [1]
    assert right({"type": "choice", "answer": "B", "n": 2}, " b")
    tree = {
        "type": "json",
        "schema": {
            "$defs": {"node": {"type": "object", "properties": {"next": {"$ref": "#/$defs/node"}}}},
            "$ref": "#/$defs/node",
        },
    }
    assert right(tree, '{"next": {"next": {}}}')
    assert not right(tree, '{"next": {"next": 1}}')
    whole = {
        "type": "json",
        "schema": {
            "properties": {"a": {"multipleOf": 0.1}, "b": {"const": {"$ref": "no reference"}}}
        },
    }
    assert not any(
        right(whole, answer)
        for answer in ('{"a": 1e400}', '{"a": NaN}', '{"a": 1' + "0" * 400 + "}")
    )
    named = {
        "type": "json",
        "schema": {
            "$id": "https://example.org/root.json",
            "$defs": {"i": {"$id": "item.json", "type": "integer"}},
            "properties": {"a": {"$ref": "item.json"}},
        },
    }
    assert right(named, '{"a": 1}')
    assert not right(named, '{"a": "1"}')
    assert not right(tree, '{"next": ' * 5000 + "{}" + "}" * 5000)


@pytest.mark.parametrize(
    "answer",
    [
        "x = 1",
        "```python\nx = 1\n```",
        "```python3\nx = 1\n```",
        "```Python title=a.py\nx = 1\n```\nThat is it.",
        "Install it:\n```bash\npip install y\n```\nThen:\n```py\nx = 1\n```",
        "Run:\n```bash\npip install y\n```\nCode:\n```\nx = 1\n```\nPrints:\n```text\n1\n```",
        "1. So:\n   ```python\nx = 1\n   ```",
        "Cut off:\n```python\nx = 1\n",
        "```js-like\nx = 1\n```",
        "```python\nx = 1```",
        "Here: ```python\nx = 1\n``` That is all.",
    ],
)
def test_code_is_found_where_models_put_it(answer: str) -> None:
    """Whatever the fence is called, and whatever stands before it."""
    assert code_of(answer).strip() == "x = 1"


@pytest.mark.parametrize(
    ("answer", "number"),
    [
        ("1e5", 1e5),
        ("about 2.5e-3.", 2.5e-3),
        ("1e5円", 1e5),
        ("3万円", 30_000),
        ("1.5億", 150_000_000),
        ("２ 千円", 2_000),
        ("3万5千円です", 35_000),
        ("3万5000円", 35_000),
        ("1億2000万人", 120_000_000),
        ("2兆", 2e12),
        ("-3万", -30_000),
        ("total-42", 42),
        ("5-3", 3),
        ("f(x)-4", 4),
        ("答えは-5です", -5),
        ("x=−5", -5),
        ("(-5)", -5),
        ("1 234", 1_234),
        ("12\u00a0345\u202f678\u2009901.5", 12_345_678_901.5),
        ("in 2024 300 people", 300),
        ("1234 567", 567),
        ("1,250.75 euros", 1250.75),
        ("I paid 5,8 euros", 58),
        ("The answer is 42 (rounded to 2 decimals)", 42),
        ("The final answer is: **42**, found in 3 steps.", 42),
        ("Answer: $27 for 9 pens", 27),
        ("So \\boxed{42} after 3 steps", 42),
        ("答え：1080円（9本）", 1080),
        ("x = 5 (1 step)", 5),
        ("3x = 15, so x = 5.", 5),
        ("3 × 60 = 180. With 20 more there are 200.", 200),
        ("60 × 3 = 180\n\n200", 200),
        ("The answer is the sum of 17 and 26, which is 43", 43),
        ("The answer is 12.\nCheck: 12 - 5 = 7.", 12),
        ("The answer is 42 = 6 * 7.", 42),
        ("$\\boxed{42}$ since x=3", 42),
        ("The answer is 5 km (= 5000 m)", 5),
        ("答えを出すには 9 と 120 を掛けます。1080円です。", 1080),
        ("42 (rounded to 2 decimals)", 2),
    ],
)
def test_the_number_that_an_answer_comes_to(answer: str, number: float) -> None:
    """Powers, Japanese units, thousands; what is told as the answer goes before what stands
    last.
    """
    assert final_number(answer) == pytest.approx(number, rel=1e-12)
    assert right({"type": "numeric", "answer": number}, answer)


def test_an_answer_without_a_number_comes_to_none() -> None:
    """Nothing is made up, and a number beyond reason is none that was asked for."""
    assert final_number("I do not know.") is None
    assert not right({"type": "numeric", "answer": 0}, "none")
    assert not right({"type": "numeric", "answer": 0}, "1e400")


@pytest.mark.parametrize(
    ("pattern", "answer"),
    [
        ("東京，大阪", "東京，大阪です"),
        ("東京,大阪", "東京，大阪"),
        ("^12$", "１２"),
        ("！", "はい！"),
        ("ポンプB", "ポンプＢ"),
    ],
)
def test_a_pattern_is_held_against_the_answer_as_it_is_and_in_usual_widths(
    pattern: str, answer: str
) -> None:
    """Either may match."""
    assert right({"type": "regex", "pattern": pattern}, answer)


def test_patterns_in_a_schema_say_which_properties_may_be_there() -> None:
    """As jsonschema matches them: anywhere in a name; what no name and no pattern speaks of is
    additional.
    """
    schema = {
        "properties": {"a": True},
        "patternProperties": {"^x": {"type": "integer"}, "y$": {"pattern": "b+"}},
        "additionalProperties": {"const": None},
    }
    check = {"type": "json", "schema": schema}
    assert all(
        right(check, text)
        for text in ('{"a": 1, "x": 2, "xy": 3}', '{"by": "abba", "z": null}', '{"y": 5}')
    )
    assert not any(
        right(check, text) for text in ('{"x": "2"}', '{"y": "c"}', '{"z": 1}', '{"xy": "b"}')
    )


def test_a_scalar_can_be_the_json_of_an_answer() -> None:
    """If it is all of the answer or of a fence; an object or list that stands before goes first."""
    yes_or_no = {"type": "json", "schema": {"enum": ["yes", "no"]}}
    assert right(yes_or_no, ' "yes"\n')
    assert right(yes_or_no, 'Here:\n```json\n"no"\n```\nThat is it.')
    assert not right(yes_or_no, '"maybe"')
    assert not right(yes_or_no, 'It is "yes"')
    assert right({"type": "json", "schema": {"type": "string"}}, '"see [1] and {2}"')
    number = {"type": "json", "schema": {"type": "number", "minimum": 3}}
    assert [
        right(number, answer) for answer in ("3.5", "```\n4\n```", "2", "three", "[4]", "")
    ] == [True, True, False, False, False, False]
    assert right({"type": "json", "schema": {"type": "boolean"}}, "true")
    assert right({"type": "json", "schema": {"type": "null"}}, "null")
    untyped = {"type": "json", "schema": {"required": ["a"]}}
    assert [right(untyped, answer) for answer in ("5", '"a"', '{"a": 5}', "{}", "```\n5\n```")] == [
        False,
        False,
        True,
        False,
        False,
    ]
    assert first_json('{"a": 1} and ```json\n{"a": 2}\n```') == {"a": 1}


@pytest.mark.parametrize(
    "tests",
    [
        "f(1)",
        "# assert f(1) == 2\nf(1)",
        "'assert'",
        "assert True\nf(1)",
        "assert (f(1) == 2, 'two')",
        "def check(g):\n    assert g(1) == 2",
        "def test_f(tmp_path):\n    assert f(1) == 2",
        "async def test_f():\n    assert f(1) == 2",
        (
            "import unittest\nclass T(unittest.TestCase):\n    def test(self):\n        "
            "f(1)\nunittest.main()"
        ),
        "class Helper:\n    def test(self):\n        assert f(1)",
        "class Helper(object):\n    def test(self):\n        assert f(1)",
        (
            "class TestF:\n    def __init__(self):\n        self.n = 1\n    def "
            "test_one(self):\n    "
            "    assert f(1)"
        ),
    ],
)
def test_tests_that_assert_nothing_are_refused(tests: str) -> None:
    """Also where the word stands in a comment, or in a function that nobody calls."""
    with pytest.raises(Misuse, match="assert nothing, so that every answer would be right"):
        check_of({"type": "python", "tests": tests})


@pytest.mark.parametrize(
    "tests",
    [
        "assert f(1) == 2",
        "if f(1) != 2:\n    raise ValueError",
        "def check(g):\n    assert g(1) == 2\ncheck(f)",
        "def test_f():\n    assert f(1) == 2",
        (
            "import unittest\nclass T(unittest.TestCase):\n    def test(self):\n        "
            "self.assertEqual(f(1), 2)"
        ),
        "class TestF:\n    def test_one(self):\n        assert f(1) == 2",
        "try:\n    f(-1)\n    assert False\nexcept ValueError:\n    pass",
        "for n in range(3):\n    assert f(n) == n + 1",
        "def test_f():\n    assert f(1) == 2\n    return\n    assert False",
        "def no():\n    assert 0\nassert f(no)",
        (
            "def test_f():\n    try:\n        f(-1)\n    except ValueError:\n        return\n    "
            "assert False, 'no error'"
        ),
        (
            "class Base:\n    def test_one(self):\n        assert f(1) == 2\nclass "
            "TestF(Base):\n    "
            "pass"
        ),
        (
            "from unittest import TestCase\nclass Base(TestCase):\n    pass\nclass F(Base):\n   "
            " def "
            "test(self):\n        self.fail()"
        ),
    ],
)
def test_tests_that_assert_something_are_taken(tests: str) -> None:
    """At top level, in what is called, and in tests of unittest and pytest."""
    assert check_of({"type": "python", "tests": tests}).kind == "python"


@pytest.mark.parametrize(
    ("tests", "words"),
    [
        (
            "import pytest\ndef test_f():\n    assert f(1)",
            "import 'pytest', but the sandbox holds Python's standard library alone",
        ),
        ("from numpy.testing import assert_allclose\nassert_allclose(f(1), 2)", "import 'numpy'"),
        ("return", "no Python"),
        ("assert f(1)\x00", "no Python"),
    ],
)
def test_tests_that_cannot_run_are_refused(tests: str, words: str) -> None:
    """What is no Python, and packages that are not there."""
    with pytest.raises(Misuse, match=words):
        check_of({"type": "python", "tests": tests})


def test_an_exact_answer_must_be_one_that_is_read() -> None:
    """Not longer than what is read of an answer, and something besides quotes and dots."""
    check_of({"type": "exact", "answer": "a" * LONGEST + "\n"})
    with pytest.raises(
        Misuse, match=r"has 20,001 characters, but only the first 20,000 of an answer are read"
    ):
        check_of({"type": "exact", "answer": "a" * (LONGEST + 1)})
    with pytest.raises(Misuse, match="empty but for quotes and dots"):
        check_of({"type": "exact", "answer": "「...」"})
