"""Refuses tests of a Python check that can tell nothing, before anything runs: they must be
Python, import only the standard library, and assert something.

What runs (see `program`) are the statements at top level, classes of unittest, and functions
`test_…` and classes `Test…` as pytest knows them. The tests assert something if one of these, or a
function that is used, holds an assertion that can fail.
"""

import ast
import sys
import warnings
from collections.abc import Iterator
from typing import Final

from hakaru.errors import Misuse

_IMPORTABLE: Final = sys.stdlib_module_names | {"answer", "__main__"}


def check_tests(before: str, tests: str) -> None:
    """Raises Misuse if `tests`, or the code `before` the answer, make no check."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # odd escapes and comparisons are not ours to improve
            trees = [ast.parse(text) for text in (before, tests)]
            for text in (before, tests):
                compile(text, "tests", "exec", dont_inherit=True)
    except SyntaxError as error:
        raise Misuse(
            "the tests are no Python from line {line} on: {found}",
            line=error.lineno or 1,
            found=(error.text or "").strip() or "?",
        ) from error
    except (ValueError, RecursionError, MemoryError) as error:  # a zero byte, endless brackets
        raise Misuse("the tests are nothing that Python can read") from error
    for name in (name for tree in trees for name in _imports(tree) if name not in _IMPORTABLE):
        raise Misuse(
            "the tests import '{name}', but the sandbox holds Python's standard library alone",
            name=name,
        )
    body = trees[1].body
    if not any(_asserts(statement) and _runs(statement, body) for statement in body):
        raise Misuse("the tests assert nothing, so that every answer would be right")


def _imports(tree: ast.Module) -> Iterator[str]:
    """The packages that the top level imports."""
    for statement in tree.body:
        if isinstance(statement, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in statement.names)
        elif isinstance(statement, ast.ImportFrom) and statement.module and not statement.level:
            yield statement.module.partition(".")[0]


def _asserts(statement: ast.stmt) -> bool:
    """Whether `statement` holds an assertion that can fail: `assert`, `raise`, `fail(…)`, or a call
    of something named `assert…`.
    """
    for node in ast.walk(statement):
        if isinstance(node, ast.Assert) and not _is_always_true(node.test):
            return True
        if isinstance(node, ast.Raise):
            return True
        if (
            isinstance(node, ast.Call)
            and (name := _name(node.func))
            and (name.startswith("assert") or name == "fail")
        ):
            return True
    return False


def _runs(statement: ast.stmt, body: list[ast.stmt]) -> bool:
    """Whether the code in `statement`, one of `body`, comes to run. A function or class runs if it
    is a test or is used elsewhere.
    """
    if not isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return True
    elsewhere = (node for other in body if other is not statement for node in ast.walk(other))
    if statement.decorator_list or any(_name(node) == statement.name for node in elsewhere):
        return True
    if isinstance(statement, ast.ClassDef):
        return _is_case(statement, body)
    return (
        isinstance(statement, ast.FunctionDef)
        and statement.name.startswith("test_")
        and not _needs_arguments(statement.args)
    )


def _is_case(statement: ast.ClassDef, body: list[ast.stmt]) -> bool:
    """Whether a class is a case of unittest, also by a base class in `body`, or one of pytest's."""
    bases = [name for base in statement.bases if (name := _name(base))]
    base_classes = (
        other
        for other in body
        if isinstance(other, ast.ClassDef) and other is not statement and other.name in bases
    )
    if any(name.endswith("TestCase") for name in bases):
        return True
    if any(_is_case(base, body) for base in base_classes):
        return True
    has_init = any(
        isinstance(inner, ast.FunctionDef) and inner.name == "__init__" for inner in statement.body
    )
    return statement.name.startswith("Test") and not has_init


def _needs_arguments(arguments: ast.arguments) -> bool:
    n_needed = len(arguments.posonlyargs) + len(arguments.args) - len(arguments.defaults)
    return n_needed > 0 or None in arguments.kw_defaults


def _is_always_true(condition: ast.expr) -> bool:
    """A constant such as `True`, or a tuple that holds something: `assert (a == b, "text")`."""
    if isinstance(condition, ast.Tuple):
        return bool(condition.elts)
    return isinstance(condition, ast.Constant) and bool(condition.value)


def _name(node: ast.AST) -> str | None:
    """The name that a node reads, of an attribute the last part."""
    if isinstance(node, ast.Name):
        return node.id
    return node.attr if isinstance(node, ast.Attribute) else None
