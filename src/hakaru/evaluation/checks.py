"""Checks of an answer: what a task asks for, and whether an answer gives it.

A check is made from the JSON of a task file; a faulty check is refused when that file is read. An
answer is right or not, or takes a pattern too long (TimeoutError). Answers are untrusted: none is
executed here (see `sandbox` for Python), and only the first `LONGEST` characters of one are read.
"""

import json
import re
import unicodedata
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeGuard

import regex
from msgspec import Struct

from hakaru.errors import Misuse
from hakaru.evaluation.numerals import final_number
from hakaru.evaluation.python_tests import check_tests
from hakaru.evaluation.schemas import MATCH_SECONDS, satisfies
from hakaru.language import listed

LONGEST: Final = 20_000
"""Characters of an answer that are read."""
LONGEST_SHOWN: Final = 60
"""Characters of a wrong value that a sentence shows."""
TOLERANCE: Final = 1e-6
"""How far a number may be off, where the check names no other tolerance."""
LETTERS: Final = "ABCDEFGH"
UNPROVEN: Final = ("regex", "json", "python")
"""Kinds of checks that do not hold a right answer themselves: only the `example` of a task proves
that an answer can pass (see `tasks`).
"""
_FENCED: Final = re.compile(r"```([^\n`]*)\n(.*?)(?:```|\Z)", re.DOTALL)
_FULL_WIDTH: Final = {0xFF01 + i: 0x21 + i for i in range(94)}
"""Full-width ASCII to ASCII."""


class Check(Struct, frozen=True, kw_only=True):
    """What an answer is held against."""

    kind: str  # one of the types that `check_of` knows
    is_right: Callable[[str], bool] | None = None  # None for Python, which runs in the sandbox
    letters: str = ""  # of a choice: those that an answer may begin with
    before: str = ""  # Python that runs before the answer's code
    tests: str = ""  # Python that runs after the answer's code


def check_of(data: Mapping[str, Any]) -> Check:
    """The check that `data`, an entry of a task file, describes. Raises Misuse."""
    kind = data.get("type")
    makers: dict[str, Callable[[Mapping[str, Any]], Check]] = {
        "contains": _contains, "exact": _exact, "regex": _regex, "numeric": _numeric,
        "json": _json, "choice": _choice, "python": _python,
    }  # fmt: skip
    if not isinstance(kind, str) or kind not in makers:
        raise Misuse(
            "the check's type is {found}, expected one of {known}",
            found=as_written(kind),
            known=listed(makers),
        )
    return makers[kind](data)


def _contains(data: Mapping[str, Any]) -> Check:
    """The answer has a text, or every text of a list, somewhere."""
    named, ignore_case = data.get("answer"), data.get("ignore_case", True)
    texts = [named] if isinstance(named, str) else named
    if not isinstance(texts, list) or not texts or not all(isinstance(t, str) for t in texts):
        raise Misuse("the check needs 'answer', a text or a list of texts")
    if not isinstance(ignore_case, bool):
        raise Misuse(
            "'ignore_case' is {found}, expected true or false", found=as_written(ignore_case)
        )
    wanted = [_in_one_form(text, ignore_case=ignore_case).strip() for text in texts]
    if not all(wanted):
        raise Misuse("a text that the answer has to contain is empty, so that every answer has it")
    if any(len(text) > LONGEST for text in texts):
        raise Misuse(
            "a text that the answer has to contain has {n:,} characters, but only the first "
            "{most:,} of an answer are read",
            n=max(map(len, texts)),
            most=LONGEST,
        )

    def is_right(answer: str) -> bool:
        read = _in_one_form(answer[:LONGEST], ignore_case=ignore_case)
        return all(text in read for text in wanted)

    return Check(kind="contains", is_right=is_right)


def _exact(data: Mapping[str, Any]) -> Check:
    text = _text(data, "answer")
    wanted = _plain(text)
    if not wanted:
        raise Misuse(
            "the exact answer is empty but for quotes and dots, so that no answer can ever be right"
        )
    if _plain(text[:LONGEST]) != wanted:
        raise Misuse(
            "the exact answer has {n:,} characters, but only the first {most:,} of an answer are "
            "read",
            n=len(text),
            most=LONGEST,
        )
    return Check(kind="exact", is_right=lambda answer: _plain(answer[:LONGEST]) == wanted)


def _regex(data: Mapping[str, Any]) -> Check:
    text = _text(data, "pattern")
    try:
        pattern = regex.compile(text, regex.IGNORECASE | regex.DOTALL)
    except regex.error as error:
        raise Misuse(
            "the pattern {found} is no regular expression: it goes wrong at character {n}",
            found=as_written(text),
            n=min((error.pos or 0) + 1, len(text)),
        ) from error
    except (OverflowError, RecursionError) as error:
        raise Misuse("the pattern is too large for a regular expression") from error

    def is_right(answer: str) -> bool:
        """Full-width letters, digits and signs match as they are, or as those of ASCII."""
        read = answer[:LONGEST]
        texts = {read, read.translate(_FULL_WIDTH)}
        return any(pattern.search(text, timeout=MATCH_SECONDS) is not None for text in texts)

    return Check(kind="regex", is_right=is_right)


def _numeric(data: Mapping[str, Any]) -> Check:
    wanted, tolerance = data.get("answer"), data.get("tolerance", TOLERANCE)
    if not _is_number(wanted) or not _is_number(tolerance) or tolerance < 0:
        raise Misuse(
            "a numeric check needs a finite number as its answer, and a tolerance of at least 0"
        )
    value = float(wanted)

    def is_right(answer: str) -> bool:
        number = final_number(answer[:LONGEST])
        return number is not None and abs(number - value) <= tolerance

    return Check(kind="numeric", is_right=is_right)


def _json(data: Mapping[str, Any]) -> Check:
    is_right = satisfies(data.get("schema"))
    return Check(kind="json", is_right=lambda answer: is_right(answer[:LONGEST]))


def _choice(data: Mapping[str, Any]) -> Check:
    wanted, n = data.get("answer"), data.get("n", 4)
    if (
        not isinstance(n, int)
        or not 2 <= n <= len(LETTERS)
        or not isinstance(wanted, str)
        or wanted not in LETTERS[:n]
        or len(wanted) != 1
    ):
        raise Misuse(
            "a choice check needs n from 2 to {most}, and one of the first n letters as its answer",
            most=len(LETTERS),
        )
    return Check(
        kind="choice",
        letters=LETTERS[:n],
        is_right=lambda answer: answer.strip()[:1].upper() == wanted,
    )


def _python(data: Mapping[str, Any]) -> Check:
    before, tests = _text({"before": "", **data}, "before"), _text(data, "tests")
    check_tests(before, tests)
    return Check(kind="python", before=before, tests=tests)


def code_of(answer: str) -> str:
    """The Python in an answer: the first fenced block that is labelled Python, else the first
    without a label, else the first with another label. Without a block, the whole answer.
    """
    blocks = _FENCED.findall(answer[:LONGEST])
    python = [code for label, code in blocks if label.strip().casefold().startswith("py")]
    unlabelled = [code for label, code in blocks if not label.strip()]
    return str(next(iter([*python, *unlabelled, *(code for _, code in blocks)]), answer[:LONGEST]))


def as_written(value: object) -> str:
    """The beginning of a value as it stands in a task file: `null`, not Python's `None`."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}…"


def _plain(text: str) -> str:
    """The text without outer quotes and dots, case, full width and doubled spaces."""
    return (
        re.sub(r"\s+", " ", text.translate(_FULL_WIDTH))
        .strip()
        .strip("\"'`*.。「」『』 ")
        .casefold()
    )


def _in_one_form(text: str, *, ignore_case: bool) -> str:
    """The text with every letter in its usual width (Unicode's NFKC) and every gap as one blank."""
    spaced = re.sub(r"\s+", " ", unicodedata.normalize("NFKC", text))
    return spaced.casefold() if ignore_case else spaced


def _text(data: Mapping[str, Any], key: str) -> str:
    text = data.get(key)
    if not isinstance(text, str):
        raise Misuse("the check needs '{key}', a text", key=key)
    return text


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300
