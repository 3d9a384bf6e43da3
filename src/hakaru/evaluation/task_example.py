"""An example of a task file, with a task for every type of check: what a person starts from, and
where a wrong line finds a right one.

The example stands in English and Japanese beside this file (`example-en.jsonl`,
`example-ja.jsonl`).
"""

import json
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from hakaru.errors import Misuse
from hakaru.language import current_language
from hakaru.places import check_place, written_whole

COMMENTS: Final = ("#", "//")
"""How a line begins that is no task. No JSON object begins so."""


def is_comment(line: str) -> bool:
    """True for a line of a task file that is no task: a blank one, or a comment."""
    return not line.strip() or line.lstrip().startswith(COMMENTS)


@cache
def example_text(language: str) -> str:
    """The whole example, comments included."""
    source = files("hakaru.evaluation") / f"example-{language}.jsonl"
    return source.read_text(encoding="utf-8")


def right_line(wrong: Any) -> str:
    """A right line in the language in use, to stand beside a wrong one: with the same type of check
    where `wrong`, the wrong line's JSON, names one.
    """
    check = wrong.get("check") if isinstance(wrong, dict) else None
    kind = check.get("type") if isinstance(check, dict) else None
    lines = [line for line in example_text(current_language()).splitlines() if not is_comment(line)]
    same = (line for line in lines if json.loads(line)["check"]["type"] == kind)
    return next(same, lines[0])


def write_example(path: Path) -> None:
    """Write the example in the language in use. Raises Misuse for a file that is there, or where
    none can be written.
    """
    check_place("FILE", path)
    if path.exists():
        raise Misuse("{path}: exists already, and is left as it is; name another file.", path=path)
    with written_whole(path) as part:
        part.write_text(example_text(current_language()), encoding="utf-8")
