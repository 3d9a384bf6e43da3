"""The program in the sandbox: an answer's code, then its tests.

`sandbox.py` writes this file's text into another, with calls of `limit` and `run` below it; only
the standard library is there. The answer runs as a module with the name `answer`, so that its main
block stays out; the tests go on among the same names as `__main__`. Cases that the tests define run
behind them, each once: classes of unittest, and functions `test_…` and classes `Test…` as pytest
knows them. `unittest.main()` runs the cases that are there by then and does not end the tests.
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
    """Set limits of this process, which no code in here can raise again."""
    for resource_, most in (
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_AS, memory_bytes),
        (resource.RLIMIT_FSIZE, file_bytes),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, 64),
    ):
        resource.setrlimit(resource_, (most, most))


def run(*, before: str, code: str, tests: str, writer: int, mark: bytes) -> None:
    """Run all three, then write `mark` to the file descriptor `writer`. A failure ends this process
    before that.
    """
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
    """Run the source `text` among the names of `module`. Its lines can be looked up like those of a
    file called `name`.
    """
    linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
    exec(compile(text, name, "exec", dont_inherit=True), module.__dict__)


def is_of_answer(traceback: types.TracebackType | None) -> bool:
    """Whether an exception was raised in the answer's code, or below it."""
    while traceback:
        if traceback.tb_frame.f_code.co_filename == "answer.py":
            return True
        traceback = traceback.tb_next
    return False


class Cases:
    """Runs the cases that the tests define. A call runs those that have not run yet, and ends the
    process with 1 if a case fails.
    """

    def __init__(self, module: types.ModuleType, leave: Callable[[int], object]) -> None:
        self.module, self.leave = module, leave
        self.started: list[object] = []
        self.result: object = None

    def __call__(self, *_: object, **__: object) -> "Cases":
        new = [
            (name, value)
            for name, value in vars(self.module).items()
            if (
                isinstance(value, type)
                or (isinstance(value, types.FunctionType) and name.startswith("test_"))
            )
            and value.__module__ == "__main__"
            and not any(value is other for other in self.started)
        ]
        if not new:
            return self
        import unittest

        self.started += [value for _, value in new]
        result = unittest.TestResult()
        unittest.TestSuite(case for name, value in new for case in cases_of(name, value)).run(
            result
        )
        if not result.wasSuccessful():
            self.leave(1)
        self.result = result
        return self


def cases_of(name: str, value: object) -> "Iterator[unittest.TestCase]":
    """The cases in `value`, a function or class that the tests call `name`."""
    import unittest

    if isinstance(value, types.FunctionType):
        if n_needed(value) == 0:
            yield unittest.FunctionTestCase(value)
    elif isinstance(value, type) and issubclass(value, unittest.TestCase):
        yield from unittest.defaultTestLoader.loadTestsFromTestCase(value)  # type: ignore[misc]
    elif isinstance(value, type) and name.startswith("Test") and value.__init__ is object.__init__:  # type: ignore[misc]
        for method in dir(value):
            if method.startswith("test_") and callable(getattr(value, method)):
                instance = value()
                setup = setup_of(instance, method)
                yield unittest.FunctionTestCase(getattr(instance, method), setUp=setup)


def setup_of(instance: object, method: str) -> "Callable[[], object] | None":
    """The `setup_method` of a test class, as pytest calls it: with the test's method if
    `setup_method` takes an argument.
    """
    setup = getattr(instance, "setup_method", None)
    function = getattr(setup, "__func__", None)
    if setup is None or not isinstance(function, types.FunctionType) or n_needed(function) < 2:
        return setup
    return lambda: setup(getattr(instance, method))


def n_needed(function: types.FunctionType) -> int:
    """The number of arguments without a default."""
    code = function.__code__
    return (
        code.co_argcount
        - len(function.__defaults__ or ())
        + code.co_kwonlyargcount
        - len(function.__kwdefaults__ or ())
    )
