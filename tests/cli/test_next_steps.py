"""The last line of a command is the next step: it can be pasted, its command reads it, and the
files that it names are there.
"""

import shlex
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import pytest

from hakaru.cli import next_steps, run
from hakaru.cli.app import app
from hakaru.evaluation.tiers import TIERS
from hakaru.testing import tiny_shape, write_tiny_llama

NAME = "-小さな model's 4bit.gguf"


def words_of(step: str) -> list[str]:
    """The words of a next step that is a command of hakaru's, as its command read them."""
    program, *words = shlex.split(step)
    assert Path(program).name == "hakaru"
    context = app.make_context("hakaru", list(words))
    command: click.Command = app
    rest = list(words)
    while isinstance(command, click.Group):
        _, found, rest = command.resolve_command(context, rest)
        assert found
        command = found
    command.make_context(command.name, list(rest), parent=context)  # raises UsageError
    for word in words:
        if word.endswith(".gguf"):
            assert Path(word).is_file()
    return words


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A model in the current folder whose name needs quotes, has Japanese and begins with a
    dash.
    """
    folder = tmp_path / "my モデル"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("COLUMNS", "80")
    write_tiny_llama(folder / NAME, tiny_shape())
    return NAME


@pytest.mark.parametrize("language", ["en", "ja"])
@pytest.mark.parametrize(
    ("command", "step"),
    [
        (["hardware"], ["up"]),
        (["engine", "list"], ["engine", "build"]),
        (["doctor"], ["up"]),
        (["ls", "--catalog", "elyza"], ["fit", "llama-3-elyza-jp-8b", "--type", "Q4_K_M"]),
        (["show", "--", NAME], ["fit", f"./{NAME}"]),
        (["fit", "--source", "computed", "--", NAME], ["test", f"./{NAME}"]),
        (
            ["fit", "--source", "computed", "--type", "Q4_K_M", "--", NAME],
            ["quantize", f"./{NAME}", "--type", "Q4_K_M"],
        ),
        (
            ["fit", "llama-3.1-70b-instruct", "--type", "Q8_0", "--hardware", "L4 x2",
             "--parallel", "2", "--source", "computed"],
            ["fit", "llama-3.1-70b-instruct", "--hardware", "L4 x2", "--parallel", "2",
             "--source", "computed", "--type", "Q4_K_M"],
        ),
        (
            ["fit", "llama-3.1-405b-instruct", "--memory", "100MiB", "--source", "computed"],
            ["ls", "--catalog", "small"],
        ),
        (
            ["formula", "--params", "70B", "--bits", "4", "--hardware", "L4 x2"],
            ["fit", "llama-3.3-70b-instruct", "--type", "Q4_K_M", "--hardware", "L4 x2"],
        ),
        (
            ["formula", "--params", "8x7B", "--bits", "8"],
            ["fit", "mixtral-8x7b-instruct-v0.1", "--type", "Q8_0"],
        ),
        (
            ["quantize", "--bits", "4", "--split", "1GiB", "--dry-run", "--", NAME],
            ["quantize", f"./{NAME}", "--bits", "4", "--split", "1GiB"],
        ),
        (["formula", "--params", "70B", "--bits", "4.5"], ["ls", "--catalog"]),
    ],
)  # fmt: skip
def test_the_last_line_can_be_pasted(
    model: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    command: list[str],
    step: list[str],
    language: str,
) -> None:
    """Also for a file whose name begins with a dash and has blanks, a quote and Japanese."""
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    run(["--lang", language, *command])
    out = capsys.readouterr().out
    told = out.rpartition("次の手順:" if language == "ja" else "Next:")[2]
    assert words_of(told) == step


def test_what_is_not_here_is_fetched_as_it_was_asked_for(
    model: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a name of the catalogue its GGUF files are listed; nobody is sent for 141 GB in F16."""
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    command = ["fit", "llama-3.1-70b-instruct", "--type", "Q4_K_M", "--hardware", "L4 x2"]
    assert run([*command, "--source", "computed"]) == 0
    out = capsys.readouterr().out
    assert out.splitlines()[-1] == (
        "https://huggingface.co/models?library=gguf"
        "&other=base_model:quantized:meta-llama/Llama-3.1-70B-Instruct"
    )
    assert "hakaru fit hf:ORG/REPO:Q4_K_M" in out.replace("\n", " ")
    assert "hf download" not in out
    assert run(["show", "llama-3.1-8b-instruct"]) == 0
    assert "quantized:meta-llama/Llama-3.1-8B-Instruct" in capsys.readouterr().out
    assert run(["test", "llama-3.1-8b-instruct"]) == 4
    assert "Fetch one of its GGUF files, listed at https://" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("verdict", "n_windows", "step"),
    [
        ("pass", 12, ["serve", "{model}"]),
        ("fail", 12, ["tune", "{reference}", "--quality", "balanced"]),
        ("inconclusive", 12, ["serve", "{model}"]),
        (
            "inconclusive",
            4,
            ["test", "{model}", "--reference", "{reference}", "--quality", "balanced"],
        ),
        (None, 0, ["serve", "{model}"]),
    ],
)
def test_a_file_that_failed_its_tier_is_not_served(
    model: str, tmp_path: Path, verdict: str | None, n_windows: int, step: list[str]
) -> None:
    """The next step is the search for a level that keeps the tier; and more windows where the time
    was too short.
    """
    reference = tmp_path / "the original.gguf"
    reference.touch()
    tested: Any = verdict and SimpleNamespace(
        judgement=SimpleNamespace(verdict=verdict),
        quality=SimpleNamespace(n_windows=n_windows),
        domains=["prose"] * 12,
    )
    findings: Any = SimpleNamespace(
        model=SimpleNamespace(path=Path(model).absolute()),
        original=SimpleNamespace(path=reference),
        tested=tested,
        tier=TIERS["balanced"],
    )
    paths = {"{model}": str(Path(model).absolute()), "{reference}": str(reference)}
    assert words_of(next_steps.after_test(findings)) == [paths.get(word, word) for word in step]


@pytest.mark.parametrize("broken", [None, "transparent"])
def test_what_was_quantized_is_tested(model: str, tmp_path: Path, broken: str | None) -> None:
    """Against its source; a file that broke its tier leads to the search."""
    made, source = Path(model).absolute(), tmp_path / "the original.gguf"
    source.touch()
    step = words_of(next_steps.after_quantize(made, source, broken))
    assert step == (
        ["tune", str(source), "--quality", "transparent"]
        if broken
        else ["test", str(made), "--reference", str(source)]
    )
