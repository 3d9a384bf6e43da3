"""The program in the sandbox: an answer's code, then its tests.

`sandbox.py` writes this file's text into another, with calls of `limit` and `run` below it; only
the standard library is there. The answer runs as a module of the name `answer`, so that its main
block stays out; the tests go on among the same names as `__main__`. What they define runs behind
them: classes of unittest, functions `test_…`, and classes `Test…` as pytest knows them, each once.
`unittest.main()` runs the classes that are there by then and does not end the tests.
"""

import linecache
import os
import resource
import sys
import types
from collections.abc import Callable, Iterator

TYPE_CHECKING = False  # without `typing`, which takes its time
if TYPE_CHECKING:
    import unittest


def limit(*, seconds: int, memory_bytes: int, file_bytes: int) -> None:
    """Limits of this process, which nobody in here can raise again."""
    for what, most in (
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_AS, memory_bytes),
        (resource.RLIMIT_FSIZE, file_bytes),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, 64),
    ):
        resource.setrlimit(what, (most, most))


def run(*, before: str, code: str, tests: str, writer: int, mark: bytes) -> None:
    """Run all three and write `mark`. Whatever fails ends this process before."""
    write, leave = os.write, os._exit
    module = types.ModuleType("answer")
    sys.modules["answer"] = module
    cases = Cases(module, leave)
    if "unittest" in before + code + tests:
        import unittest

        unittest.main = cases  # type: ignore[assignment]
    execute(before, "before.py", module)
    execute(code, "answer.py", module)
    module.__name__ = "__main__"
    sys.modules["__main__"] = module
    try:
        execute(tests, "tests.py", module)
    except SystemExit as end:
        if end.code not in (None, 0) or is_of_answer(end.__traceback__):
            raise
    cases()
    write(writer, mark)


def execute(text: str, name: str, module: types.ModuleType) -> None:
    """Run some source among the names of `module`; its lines can be looked up, as those of a
    file.
    """
    linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
    exec(compile(text, name, "exec", dont_inherit=True), module.__dict__)


def is_of_answer(traceback: types.TracebackType | None) -> bool:
    """Whether something was raised in the answer's code, or below it."""
    while traceback:
        if traceback.tb_frame.f_code.co_filename == "answer.py":
            return True
        traceback = traceback.tb_next
    return False


class Cases:
    """The cases that the tests define. Called, it runs those that have not run yet, and leaves with
    1 if one fails.
    """

    def __init__(self, module: types.ModuleType, leave: Callable[[int], object]) -> None:
        self.module, self.leave = module, leave
        self.known: list[object] = []
        self.result: object = None

    def __call__(self, *_: object, **__: object) -> "Cases":
        found = [
            (name, value)
            for name, value in vars(self.module).items()
            if (
                isinstance(value, type)
                or (isinstance(value, types.FunctionType) and name.startswith("test_"))
            )
            and value.__module__ == "__main__"
            and not any(value is other for other in self.known)
        ]
        if not found:
            return self
        import unittest

        self.known += [value for _, value in found]
        result = unittest.TestResult()
        unittest.TestSuite(case for name, value in found for case in cases_of(name, value)).run(
            result
        )
        if not result.wasSuccessful():
            self.leave(1)
        self.result = result
        return self


def cases_of(name: str, value: object) -> "Iterator[unittest.TestCase]":
    """The cases in what the tests call `name`."""
    import unittest

    if isinstance(value, types.FunctionType):
        if n_needed(value) == 0:
            yield unittest.FunctionTestCase(value)
    elif isinstance(value, type) and issubclass(value, unittest.TestCase):
        yield from unittest.defaultTestLoader.loadTestsFromTestCase(value)  # type: ignore[misc]
    elif isinstance(value, type) and name.startswith("Test") and value.__init__ is object.__init__:  # type: ignore[misc]
        for each in dir(value):
            if each.startswith("test_") and callable(getattr(value, each)):
                made = value()
                yield unittest.FunctionTestCase(getattr(made, each), setUp=setup_of(made, each))


def setup_of(made: object, test: str) -> "Callable[[], object] | None":
    """What a test class does before each test; pytest gives it the test's method if it takes
    one.
    """
    setup = getattr(made, "setup_method", None)
    function = getattr(setup, "__func__", None)
    if setup is None or not isinstance(function, types.FunctionType) or n_needed(function) < 2:
        return setup
    return lambda: setup(getattr(made, test))


def n_needed(function: types.FunctionType) -> int:
    """How many arguments a function cannot do without."""
    code = function.__code__
    return (
        code.co_argcount
        - len(function.__defaults__ or ())
        + code.co_kwonlyargcount
        - len(function.__kwdefaults__ or ())
    )
