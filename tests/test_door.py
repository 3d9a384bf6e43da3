"""`import hakaru`: what a program gets, and nothing else."""

import inspect
import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

import hakaru
import hakaru.errors

ROOT = Path(__file__).parent.parent


def measured_import(code: str) -> Any:
    """What `code` prints as JSON, in a fresh interpreter."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", hakaru.__all__)
def test_every_name_is_there_and_says_what_it_is(name: str) -> None:
    """Importable from the door and from where it is defined, with a docstring, and typed."""
    value = getattr(hakaru, name)
    home = import_module(value.__module__)
    assert home.__name__.startswith("hakaru.") and getattr(home, name) is value
    assert value.__doc__ and not value.__doc__.startswith(f"{name}(")
    function = inspect.unwrap(value)
    if inspect.isfunction(function):
        parameters = inspect.signature(function).parameters
        assert set(function.__annotations__) == {*parameters, "return"}


def test_nothing_else_leaks() -> None:
    """Not the modules that were loaded on the way, and no helper."""
    hakaru.fit  # noqa: B018 -- loading it loads modules
    names = {name for name in dir(hakaru) if not name.startswith("__")}
    assert names == set(hakaru.__all__) == set(hakaru.__all__) & names
    with pytest.raises(AttributeError, match="module 'hakaru' has no attribute 'choose_me'"):
        hakaru.choose_me  # type: ignore[attr-defined]  # noqa: B018


def test_every_error_that_people_catch_is_at_the_door() -> None:
    """The whole tree of `hakaru.errors`, but for the signals that end a command."""
    errors = {
        name
        for name, value in vars(hakaru.errors).items()
        if isinstance(value, type) and issubclass(value, BaseException)
    }
    assert errors - {"HungUp", "Terminated"} <= set(hakaru.__all__)


def test_importing_loads_nothing_that_is_not_used() -> None:
    """Milliseconds: no library, and none of our own rooms."""
    code = "import sys, json; before = set(sys.modules); import hakaru; "
    loaded = set(measured_import(code + "print(json.dumps(sorted(set(sys.modules) - before)))"))
    assert {name for name in loaded if name.startswith("hakaru")} == {"hakaru"}
    assert not loaded & {"numpy", "httpx", "click", "rich", "xllamacpp", "scipy", "starlette"}


def test_a_checker_sees_the_types(tmp_path: Path) -> None:
    """The package says that it is typed, and a checker finds a misspelt field of the context."""
    assert (ROOT / "src" / "hakaru" / "py.typed").exists()
    wrong = tmp_path / "wrong.py"
    wrong.write_text(
        "import hakaru\nreveal_type(hakaru.fit('x', n_ctx=1))\nhakaru.fit('x', context=1)\n"
    )
    command = [sys.executable, "-m", "mypy", "--strict", str(wrong)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert 'Revealed type is "hakaru.planning.answer.Fit"' in done.stdout, done.stdout
    assert 'Unexpected keyword argument "context"' in done.stdout
