"""What is printed, and to whom."""

import errno
import io
import sys
from pathlib import Path

import pytest

from hakaru.cli import run
from hakaru.cli.output import print_facts, show_table, terminal_width
from hakaru.cli.table import Column, Table
from hakaru.cli.wrapping import whole
from hakaru.errors import HakaruError


def test_a_reader_who_leaves_within_a_table_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """`hakaru test … | head -1` ends as `--json | head -1` does: rich would end it with exit code
    1.
    """

    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    monkeypatch.setattr(sys, "stdout", Gone())
    with pytest.raises(BrokenPipeError):
        show_table(Table([Column("a"), Column("b")], [["1", "2"]]))


def test_a_reader_who_leaves_a_whole_command_is_no_failure(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Click would end it with exit code 1, now and then, as the pipe is quick or slow."""
    with (tmp_path / "out").open("w") as out:

        class Gone(io.StringIO):
            def write(self, text: str) -> int:
                raise BrokenPipeError(errno.EPIPE, "Broken pipe")

            def fileno(self) -> int:
                return out.fileno()

        monkeypatch.setattr(sys, "stdout", Gone())
        assert run(["formula", "--params", "7B", "--bits", "4", "--json"]) == 0


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_value_that_is_too_long_has_a_line_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """A path is never broken, whatever stands in it; a list goes on below itself."""
    screen = Terminal()
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setenv("COLUMNS", "36")
    path = "/home/me/日本語の モデル/tiny.gguf"
    print_facts([["file", whole(path)], ["types", "F16 2.8 MiB, F32 5.0 KiB, Q8_0 4.1 MiB"]])
    assert screen.getvalue().splitlines() == [
        "file",
        f"  {path}",
        "types  F16 2.8 MiB, F32 5.0 KiB,",
        "       Q8_0 4.1 MiB",
    ]


@pytest.mark.parametrize(("columns", "width"), [("60", 60), ("0", 80), ("wide", 80), ("", 80)])
def test_columns_say_how_wide_a_terminal_is(
    monkeypatch: pytest.MonkeyPatch, columns: str, width: int
) -> None:
    """If they are a number; and a pipe has no width."""
    monkeypatch.setenv("COLUMNS", columns)
    assert terminal_width(Terminal()) == width
    assert terminal_width(io.StringIO()) is None


def kinds(kind: type[HakaruError] = HakaruError) -> list[type[HakaruError]]:
    """Every kind of error."""
    return [kind, *(more for below in kind.__subclasses__() for more in kinds(below))]


@pytest.mark.parametrize("kind", kinds())
def test_an_error_of_any_kind_is_one_sentence(
    kind: type[HakaruError], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With its exit code; also those that are made of something else than a sentence."""

    def fails(*_: object) -> int:
        error = kind.__new__(kind)
        HakaruError.__init__(error, "{path}: is broken.", path="model.gguf")
        raise error

    monkeypatch.setattr("hakaru.cli.app.invoke", fails)
    assert run(["fit", "model.gguf"]) == kind.exit_code
    assert capsys.readouterr().err == "hakaru: model.gguf: is broken.\n"
