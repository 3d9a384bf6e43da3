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

from as_typed import typed
from hakaru.cli import next_steps, run
from hakaru.cli.app import app
from hakaru.evaluation.tiers import TIERS
from hakaru.hardware.machine import Memory
from hakaru.models.sources.found import search_for_gguf
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
            ["fit", "llama-3.1-70b-instruct", "--bits", "8", "--hardware", "L4 x2",
             "--source", "computed"],
            ["fit", "llama-3.1-70b-instruct", "--hardware", "L4 x2", "--source", "computed",
             "--type", "Q4_K_M"],
        ),
        (
            ["fit", "--source", "computed", "--bits", "4", "--", NAME],
            ["quantize", f"./{NAME}", "--type", "Q4_K_M"],
        ),
        (
            ["fit", "llama-3.1-405b-instruct", "--memory", "100MiB", "--source", "computed"],
            ["ls", "--catalog", "small"],
        ),
        (
            ["formula", "--params", "70B", "--bits", "4", "--hardware", "L4 x2"],
            ["fit", "llama-3.3-70b-instruct", "--hardware", "L4 x2", "--type", "Q4_K_M"],
        ),
        (
            ["formula", "--params", "8x7B", "--bits", "8"],
            ["fit", "mixtral-8x7b-instruct-v0.1", "--type", "Q8_0"],
        ),
        (
            ["quantize", "--bits", "4", "--split", "1GiB", "--dry-run", "--", NAME],
            ["quantize", f"./{NAME}", "--bits", "4", "--split", "1GiB"],
        ),
        (
            ["formula", "--params", "70B", "--bits", "4.5", "--context", "8192"],
            ["fit", "llama-3.3-70b-instruct", "--context", "8192", "--type", "Q4_K_M"],
        ),
        (["formula", "--params", "9000B", "--bits", "4"], ["ls", "--catalog"]),
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


def test_a_model_of_the_catalogue_is_pulled_by_its_name(
    model: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the type that was asked for, where the catalogue knows a repository with GGUF files."""
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    fit = ["fit", "qwen3-8b", "--type", "Q6_K", "--hardware", "L4", "--source", "computed"]
    assert run(fit) == 0
    told = capsys.readouterr().out
    assert told.splitlines()[-1].endswith("hakaru pull qwen3-8b:Q6_K")
    assert run(["quantize", "qwen3-8b", "--type", "Q6_K"]) == 4
    assert "hakaru pull qwen3-8b:Q6_K" in capsys.readouterr().err


@pytest.mark.parametrize("type_", ["Q4_K_M", "Q8_0"])
def test_of_what_is_not_here_the_gguf_files_are_listed(
    model: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, type_: str
) -> None:
    """By a command, whose words a shell keeps together. Whatever is typed with a name of the
    catalogue, nobody is sent for 141 GB in F16, and the type is the one that was asked for.
    """
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    name = "llama-3.1-70b-instruct"
    lists = (
        "hf models ls --filter gguf --filter "
        "base_model:quantized:meta-llama/Llama-3.1-70B-Instruct --sort downloads"
    )
    fit = ["fit", name, "--type", type_, "--hardware", "A100 80GB x2", "--source", "computed"]
    for command, exit_code in ((fit, 0), (["quantize", name, "--type", type_], 4)):
        assert run(command) == exit_code
        told = "".join(capsys.readouterr())
        assert told.splitlines()[-1].endswith(lists)
        assert f"hakaru fit hf:ORG/REPO:{type_}" in told.replace("\n", " ")
        assert "hf download" not in told
    for command in (["serve"], ["tune"], ["up"], ["test"], ["chat"], ["show"]):
        run([*command, name])
        told = "".join(capsys.readouterr())
        assert lists in told and "hf download" not in told


def test_hugging_face_s_program_lists_so(model: str) -> None:
    """Its parser takes the options."""
    from huggingface_hub.cli.hf import app as hf  # not part of its public API

    program, *words = shlex.split(search_for_gguf("meta-llama/Llama-3.1-8B-Instruct"))
    assert program == "hf"
    models = hf.commands[words[0]]
    assert isinstance(models, click.Group)
    listing = models.get_command(click.Context(models), words[1])
    assert listing
    context = listing.make_context("ls", words[2:])
    assert len(context.params["filter"]) == 2


@pytest.mark.parametrize(
    ("command", "flags", "step"),
    [
        (
            ["serve", NAME, "--memory", "2GiB", "--context", "8192"],
            ["`preset` Q4_K_M", "`n_ctx` 2048"],
            ["quantize", "{model}", "--type", "Q4_K_M"],
        ),
        (
            ["serve", NAME, "--memory", "2GiB", "--context", "8192"],
            ["`n_ctx` 2048", "`preset` Q4_K_M"],
            ["serve", f"./{NAME}", "--memory", "2GiB", "--context", "2048"],
        ),
        (
            ["test", NAME, NAME, "--parallel", "2"],
            ["`type_k` q8_0 `type_v` q8_0"],
            ["test", f"./{NAME}", f"./{NAME}", "--parallel", "2", "--cache-type-k", "q8_0",
             "--cache-type-v", "q8_0"],
        ),
        (["chat", NAME], ["`n_ctx` 2048"], ["chat", f"./{NAME}", "--context", "2048"]),
        (["serve", NAME], [], ["ls", "--catalog", "small"]),
    ],
)  # fmt: skip
def test_what_was_not_loaded_is_asked_for_as_it_fits(
    model: str, command: list[str], flags: list[str], step: list[str]
) -> None:
    """The command that was typed with a change that it can make, or the file that would fit."""
    ways = [SimpleNamespace(flag=flag, fits=True, verdict="fits") for flag in flags]
    path = Path(model).absolute()
    fit: Any = SimpleNamespace(alternatives=ways, model=SimpleNamespace(path=path))
    verb, *rest = command
    options = [word for word in rest if word != NAME]
    names = [word for word in rest if word == NAME]
    with typed(verb, *options, "--", *names):
        told = next_steps.after_refusal(fit)
    assert words_of(told) == [str(path) if word == "{model}" else word for word in step]


def test_a_number_stays_as_it_was_typed(model: str) -> None:
    """40 is not 40.0, and what was not typed is not said."""
    with typed("tune", "a.gguf", "--min-speed", "40", "--again"):
        assert next_steps.again(without={"--again"}) == "hakaru tune a.gguf --min-speed 40"
    with typed("tune", "a.gguf", "--min-speed", "0.5"):
        assert next_steps.again() == "hakaru tune a.gguf --min-speed 0.5"


def test_in_a_pipe_the_next_step_is_told_to_the_person(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On stderr, where that is a terminal; the result in the pipe is the result alone. Where
    nobody looks on, and with --json, it is left out.
    """
    memory = Memory(total_bytes=2**35, available_bytes=2**34)  # what is free changes all the time
    monkeypatch.setattr("hakaru.hardware.processor.memory", lambda: memory)
    assert run(["hardware"]) == 0
    nobody = capsys.readouterr()
    assert "Next:" not in nobody.out + nobody.err
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert run(["hardware"]) == 0
    streams = capsys.readouterr()
    assert streams.out == nobody.out
    assert streams.err == "Next: hakaru up\n"
    assert run(["hardware", "--json"]) == 0
    assert capsys.readouterr().err == ""


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


@pytest.mark.parametrize(
    ("verdicts", "speeds", "n_right", "step"),
    [
        (["pass", "pass", "fail"], [10, 20, 30], [0, 0, 0], ["serve", "b.gguf"]),
        (["pass", "pass", "fail"], None, [0, 0, 0], ["serve", "a.gguf"]),
        (["fail", "fail", "inconclusive"], [10, 20, 30], [0, 0, 0],
         ["tune", "original.gguf", "--quality", "balanced"]),
        (None, [10, 20, 30], [3, 2, 1], ["serve", "a.gguf"]),
        (None, [10, 20, 30], [0, 0, 0],
         ["test", "a.gguf", "b.gguf", "c.gguf", "--context", "512", "--tasks", "ours"]),
    ],
)  # fmt: skip
def test_of_several_the_fastest_that_keeps_the_tier_is_served(
    model: str,
    verdicts: list[str] | None,
    speeds: list[int] | None,
    n_right: list[int],
    step: list[str],
) -> None:
    """What was not compared is not decided: where only speed is known, tasks are asked next."""
    names = ["a.gguf", "b.gguf", "c.gguf"]
    for name in (*names, "original.gguf"):
        Path(name).touch()
    measured = [
        SimpleNamespace(
            model=SimpleNamespace(path=Path(name), weights_bytes=100 + i),
            judgement=SimpleNamespace(verdict=verdicts[i]) if verdicts else None,
            trial=speeds
            and SimpleNamespace(
                speed=SimpleNamespace(decode_tokens_per_s=SimpleNamespace(value=speeds[i]))
            ),
            graded=[SimpleNamespace(right=True)] * n_right[i],
        )
        for i, name in enumerate(names)
    ]
    comparison: Any = SimpleNamespace(
        measured=measured,
        reference=verdicts and SimpleNamespace(path=Path("original.gguf")),
        tier=TIERS["balanced"],
    )
    with typed("test", *names, "--context", "512"):
        assert words_of(next_steps.after_comparison(comparison)) == step


def test_what_fits_a_cluster_is_served_there(
    model: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the context that was planned."""
    node = '[[node]]\nname = "n{0}"\naddress = "10.0.0.{0}"\nhardware = "8GiB RAM"\n'
    Path("cluster.toml").write_text(node.format(1) + node.format(2), encoding="utf-8")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    run(["fit", "-c", "256", "--source", "computed", "--cluster", "cluster.toml", "--", model])
    told = capsys.readouterr().out.rpartition("Next:")[2]
    assert words_of(told)[0] == "serve"
    assert words_of(told)[-2] == "--cluster" and "256" in words_of(told)
