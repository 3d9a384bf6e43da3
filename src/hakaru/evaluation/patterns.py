"""Patterns that can match nothing, as far as a look at them tells: `(?!)`, `[^\\s\\S]`, something before `^` or after `$`, or a match that is
longer than what is read of an answer. Read from the tree that Python's own `re` parses; it has no public name.
"""

import re
from importlib import import_module
from typing import Any, Final

_parser: Final[Any] = import_module("re._parser")
_OPPOSITES: Final = ({"CATEGORY_SPACE", "CATEGORY_NOT_SPACE"}, {"CATEGORY_DIGIT", "CATEGORY_NOT_DIGIT"}, {"CATEGORY_WORD", "CATEGORY_NOT_WORD"})  # fmt: skip
_NEWLINE: Final = 10


def matches_nothing(pattern: str, *, longest: int) -> bool:
    """Whether no text of `longest` characters can hold a match. False where it is not plain."""
    tree = _parser.parse(pattern, re.IGNORECASE | re.DOTALL)
    by_lines = tree.state.flags & re.MULTILINE or re.search(r"\(\?\w*m", pattern)
    return bool(tree.getwidth()[0] > longest or _fails(tree, anchored=not by_lines))


def _fails(sequence: Any, *, anchored: bool) -> bool:
    """Whether one of the parts that must match cannot."""
    for i, (operation, given) in enumerate(sequence):
        name = str(operation)
        if name == "FAILURE" or (name == "ASSERT_NOT" and not len(given[1])) or (name == "IN" and _is_empty(given)):
            return True
        if name == "AT" and anchored:
            before, after = sequence[:i], sequence[i + 1 :]
            if str(given).startswith("AT_BEGINNING") and before.getwidth()[0] > 0:
                return True
            if str(given).startswith("AT_END") and after.getwidth()[0] > 0 and not _may_be_newline(after):
                return True
        if name == "BRANCH" and all(_fails(branch, anchored=anchored) for branch in given[1]):
            return True
        if name in {"SUBPATTERN", "ATOMIC_GROUP", "ASSERT"} and _fails(
            given if name == "ATOMIC_GROUP" else given[-1], anchored=anchored
        ):
            return True
        if name.endswith("REPEAT") and given[0] > 0 and _fails(given[2], anchored=anchored):
            return True
    return False


def _is_empty(members: Any) -> bool:
    """Whether a set such as `[^\\s\\S]` holds no character."""
    excluded = {str(given) for operation, given in members if str(operation) == "CATEGORY"}
    return str(members[0][0]) == "NEGATE" and any(pair <= excluded for pair in _OPPOSITES)


def _may_be_newline(sequence: Any) -> bool:
    """Whether one newline, the most that may follow `$`, can be all of it: it is told from literals alone."""
    literal = next((given for operation, given in sequence if str(operation) == "LITERAL"), _NEWLINE)
    return sequence.getwidth()[0] <= 1 and literal == _NEWLINE
