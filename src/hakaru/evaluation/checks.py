"""Checks of an answer: what a task asks for, and whether an answer gives it.

A check is made from the JSON of a task file and never raises on an answer: an answer is right or not. What is wrong with a check
itself is found when it is read. Answers are untrusted: nothing of them is executed here (see `sandbox` for Python), and only their
first `LONGEST` characters are looked at.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from hakaru.errors import Misuse

LONGEST: Final = 20_000
TOLERANCE: Final = 1e-6
LETTERS: Final = "ABCDEFGH"
_NUMBER: Final = re.compile(r"[-+−]?\d[\d,，]*(?:\.\d+)?|[-+−]?\.\d+")
_FENCED: Final = re.compile(r"```([^\n`]*)\n(.*?)(?:```|\Z)", re.DOTALL)
_FULL_WIDTH: Final = str.maketrans("０１２３４５６７８９．－，：", "0123456789.-,:")


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """What an answer is held against. `letters` are the choices where the answer must be one of them, and `before` and `tests` the Python
    that runs around the answer's code; `is_right` is None then.
    """

    kind: str
    is_right: Callable[[str], bool] | None = None
    letters: str = ""
    before: str = ""
    tests: str = ""


def check_of(data: Mapping[str, Any]) -> Check:
    """The check that `data`, an entry of a task file, describes. Raises Misuse."""
    kind = data.get("type")
    makers: dict[str, Callable[[Mapping[str, Any]], Check]] = {
        "exact": _exact, "regex": _regex, "numeric": _numeric, "json": _json, "choice": _choice, "python": _python,
    }  # fmt: skip
    if not isinstance(kind, str) or kind not in makers:
        raise Misuse("the check's type is {found}, expected one of {known}", found=repr(kind), known=", ".join(makers))
    return makers[kind](data)


def _exact(data: Mapping[str, Any]) -> Check:
    wanted = _plain(_text(data, "answer"))
    if not wanted:
        raise Misuse("the exact answer is empty, so that no answer can ever be right")
    return Check(kind="exact", is_right=lambda answer: _plain(answer[:LONGEST]) == wanted)


def _regex(data: Mapping[str, Any]) -> Check:
    try:
        pattern = re.compile(_text(data, "pattern"), re.IGNORECASE | re.DOTALL)
    except (re.error, OverflowError, RecursionError) as error:
        raise Misuse("the pattern is no regular expression ({reason})", reason=error) from error
    return Check(kind="regex", is_right=lambda answer: pattern.search(answer[:LONGEST].translate(_FULL_WIDTH)) is not None)


def _numeric(data: Mapping[str, Any]) -> Check:
    wanted, tolerance = data.get("answer"), data.get("tolerance", TOLERANCE)
    if not _is_number(wanted) or not _is_number(tolerance) or tolerance < 0:
        raise Misuse("a numeric check needs a finite number as its answer, and a tolerance of at least 0")
    value = float(wanted or 0)
    return Check(kind="numeric", is_right=lambda answer: any(abs(n - value) <= tolerance for n in numbers(answer)[-1:]))


def _json(data: Mapping[str, Any]) -> Check:
    from jsonschema import Draft202012Validator, SchemaError
    from referencing import Registry
    from referencing.exceptions import Unresolvable

    schema = data.get("schema")
    if not isinstance(schema, dict):
        raise Misuse("a json check needs a schema, a JSON object")
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        raise Misuse("the schema is no JSON schema ({reason})", reason=error.message) from error
    except RecursionError as error:
        raise Misuse("the schema is nested too deeply") from error
    validator = Draft202012Validator(schema, registry=Registry())  # a registry that fetches nothing
    _check_references(schema, validator)

    def is_right(answer: str) -> bool:
        found = first_json(answer)
        try:
            return found is not _NOTHING and validator.is_valid(found)
        except (RecursionError, Unresolvable, ValueError, OverflowError):  # nested too deeply, or a number beyond reason
            return False

    return Check(kind="json", is_right=is_right)


def _check_references(schema: Mapping[str, Any], validator: Any) -> None:
    """Raises Misuse for a reference out of the schema or to nowhere, and for one that leads back to itself."""
    from referencing import Registry
    from referencing.exceptions import Unresolvable
    from referencing.jsonschema import DRAFT202012

    resource = DRAFT202012.create_resource(schema)
    resolver = Registry().with_resource("", resource).crawl().resolver(base_uri=resource.id() or "")
    inside: list[Any] = [schema]
    while inside:
        some = inside.pop()
        data = {"const", "enum", "default", "examples"}
        inside += (
            [v for k, v in some.items() if k not in data] if isinstance(some, dict) else some if isinstance(some, list) else ()
        )
        for reference in (some.get("$ref"), some.get("$dynamicRef")) if isinstance(some, dict) else ():
            try:
                if isinstance(reference, str):
                    resolver.lookup(reference)
            except Unresolvable as error:
                raise Misuse(
                    "the schema refers to {found}, which is not in it (nothing is fetched)", found=repr(reference)
                ) from error
    try:
        validator.is_valid({})
    except RecursionError as error:
        raise Misuse("the schema refers to itself without end") from error


def _choice(data: Mapping[str, Any]) -> Check:
    wanted, n = data.get("answer"), data.get("n", 4)
    if (
        not isinstance(n, int)
        or not 2 <= n <= len(LETTERS)
        or not isinstance(wanted, str)
        or wanted not in LETTERS[:n]
        or len(wanted) != 1
    ):
        raise Misuse("a choice check needs n from 2 to {most}, and one of the first n letters as its answer", most=len(LETTERS))
    return Check(kind="choice", letters=LETTERS[:n], is_right=lambda answer: answer.strip()[:1].upper() == wanted)


def _python(data: Mapping[str, Any]) -> Check:
    before, tests = _text({"before": "", **data}, "before"), _text(data, "tests")
    try:
        compile(f"{before}\n{tests}", "tests", "exec")
    except (SyntaxError, ValueError, RecursionError) as error:
        raise Misuse("the tests are no Python ({reason})", reason=error) from error
    if "assert" not in tests:
        raise Misuse("the tests assert nothing, so that every answer would be right")
    return Check(kind="python", before=before, tests=tests)


def numbers(answer: str) -> list[float]:
    """The numbers in an answer, in order; thousands may be parted by commas."""
    text = answer[:LONGEST].translate(_FULL_WIDTH).replace("−", "-")
    return [float(found.replace(",", "")) for found in _NUMBER.findall(text)]


_NOTHING: Final = object()


def first_json(answer: str) -> Any:
    """The first JSON object or list in an answer, or a mark for none."""
    text, decoder = answer[:LONGEST], json.JSONDecoder()
    for begin in re.finditer(r"[{\[]", text):
        try:
            return decoder.raw_decode(text, begin.start())[0]
        except (ValueError, RecursionError):
            continue
    return _NOTHING


def code_of(answer: str) -> str:
    """The Python in an answer: the first fenced block that is called so, else the first without a name, else the first; or all of it."""
    blocks = _FENCED.findall(answer[:LONGEST])
    called = [code for label, code in blocks if label.strip().casefold().startswith("py")]
    unnamed = [code for label, code in blocks if not label.strip()]
    return str(next(iter([*called, *unnamed, *(code for _, code in blocks)]), answer[:LONGEST]))


def _plain(text: str) -> str:
    """Without what nobody means: outer quotes and dots, case, widths and doubled spaces."""
    return re.sub(r"\s+", " ", text.translate(_FULL_WIDTH)).strip().strip("\"'`*.。「」『』 ").casefold()


def _text(data: Mapping[str, Any], key: str) -> str:
    found = data.get(key)
    if not isinstance(found, str):
        raise Misuse("the check needs '{key}', a text", key=key)
    return found


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300
