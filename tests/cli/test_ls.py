"""`hakaru ls --catalog`: names are found by word, and can be used."""

import json
import shlex
import sys

import pytest

from hakaru.cli import run
from hakaru.models.by_word import models_with
from hakaru.models.catalogue import catalogue_date, known_models


def test_a_word_is_found_and_told_as_a_table_and_as_json(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The same models; the object has the numbers as they are."""
    assert run(["ls", "--catalog", "elyza"]) == 0
    out = capsys.readouterr().out.splitlines()
    names = [line.split()[0] for line in out[1:-2]]
    assert "llama-3-elyza-jp-8b" in names
    assert out[-2].startswith(f"{len(names)} of {len(known_models())} models")
    assert out[-1].startswith(f"The catalogue is of {catalogue_date()}")
    assert run(["ls", "--catalog", "elyza", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["schema"] == "hakaru.catalogue/1"
    assert [model["id"] for model in data["models"]] == names
    first = next(m for m in data["models"] if m["id"] == "llama-3-elyza-jp-8b")
    assert first == {
        "id": "llama-3-elyza-jp-8b", "name": "Llama-3-ELYZA-JP-8B", "maker": "elyza",
        "hf_repo": "elyza/Llama-3-ELYZA-JP-8B", "architecture": "llama", "n_params": 8030261248,
        "class": "medium", "n_ctx_train": 8192, "license": None, "for_japanese": True,
        "embedding": False,
    }  # fmt: skip


@pytest.mark.parametrize("language", ["en", "ja"])
@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_table_fits_its_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, language: str, width: int
) -> None:
    """All names stand in full, one row a line."""
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("TERM", "dumb")
    assert run(["ls", "--catalog", "--lang", language]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1 : 1 + len(known_models())]] == [
        model.id for model in known_models()
    ]
    assert all(line == line.rstrip() for line in lines)


def test_the_next_step_names_a_model_that_writes(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is read by the command that it names."""
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert run(["ls", "--catalog", "qwen3", "8b"]) == 0
    step = shlex.split(capsys.readouterr().out.splitlines()[-1])
    assert step[-4:] == ["fit", models_with(["qwen3", "8b"])[0].id, "--type", "Q4_K_M"]
    assert run(["ls", "--catalog", "bge", "nomic"]) == 4
    capsys.readouterr()
    assert run(["ls", "--catalog", "embed"]) == 0
    assert "fit bge-small" in capsys.readouterr().out.splitlines()[-1]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["ls", "--catalog", "elyzza"], 4, "has 'elyzza'; the nearest names are "),
        (["ls", "--catalog", "zzzzqq"], 4, "has 'zzzzqq'; hakaru ls --catalog lists all."),
    ],
)
def test_what_is_not_found_says_what_to_type(
    capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, words: str
) -> None:
    """In one sentence."""
    assert run(arguments) == code
    assert words in capsys.readouterr().err
