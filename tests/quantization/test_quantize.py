"""`quantize` in Python is what `hakaru quantize` does: the same value, the same sentences."""

import json
from pathlib import Path
from typing import Any

import pytest

from hakaru.cli import run
from hakaru.errors import Misuse, ModelNotFound
from hakaru.models.model import read_model
from hakaru.quantization.journal import locked_journal
from hakaru.quantization.quantize import quantize
from hakaru.quantization.to_preset import MadePreset
from hakaru.session import Session


@pytest.mark.engine
@pytest.mark.parametrize(
    ("options", "arguments"),
    [
        (["--type", "Q4_K_M"], {"preset": "Q4_K_M"}),
        (["--type", "q4_k_m", "--dry-run"], {"preset": "q4_k_m", "dry_run": True}),
        (
            ["--size", "1500kB", "--pin", "ffn_up=Q8_0", "--importance", "none", "--dry-run"],
            {"size": 1_500_000, "pins": ("ffn_up=Q8_0",), "importance": "none", "dry_run": True},
        ),
    ],
)
def test_the_result_is_the_object_that_the_command_prints(
    tiny: Path,
    tmp_path: Path,
    options: list[str],
    arguments: dict[str, Any],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of a preset, written or planned, and of a budget; for a path and for a model."""
    monkeypatch.setattr("hakaru.hardware.busy.Others.matter", False)  # else no speed is remembered
    out = tmp_path / "small.gguf"
    assert run(["quantize", str(tiny), *options, "-o", str(out), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    for model in (tiny, read_model(tiny)):
        made = quantize(model, output=out, overwrite=True, **arguments)
        assert json.loads(json.dumps(made.as_json())) == told
    assert out.exists() == ("--dry-run" not in options)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({}, "name one target: `bits`, `preset`, `bpw`, `size`, `fit` or `tier`"),
        ({"bits": 4, "preset": "Q4_K_M"}, "name one target"),
        ({"bits": 4, "bpw": 4.5}, "name one target"),
        ({"bits": 4.5}, "`bits` is '4.5', expected one of 2, 3, 4, .* such as 4.5, name `bpw`"),
        ({"bits": "four"}, "`bits` is 'four', expected one of 2"),
        ({"bits": 7}, "`bits` is '7', expected one of 2"),
        ({"bpw": 5, "tier": "compact"}, "name one target"),
        ({"preset": "Q4_0", "pins": ("ffn=Q8_0",)}, "`pin` goes with a budget: `bpw`"),
        ({"preset": "Q4_0", "min_tokens_per_s": 5}, "`min_tokens_per_s` goes with a budget"),
        ({"bpw": 5, "min_tokens_per_s": 0}, "`min_tokens_per_s` is 0, expected more than 0"),
        ({"bpw": 5, "output": Path("/nowhere/m.gguf")}, "`output` /nowhere/m.gguf: there is no"),
    ],
)
def test_what_cannot_be_is_told_by_the_names_of_fields(
    tmp_path: Path, arguments: dict[str, Any], words: str
) -> None:
    """Before the model is looked for: whoever imports hakaru typed no option."""
    with pytest.raises(Misuse, match=words):
        quantize(tmp_path / "no model.gguf", **arguments)


def test_notes_go_to_the_session(tiny: Path) -> None:
    """What the command prints before it writes, a program hears if it wants to."""
    heard: list[str] = []
    session = Session.here(note=heard.append, keeps=False)
    quantize(tiny, preset="Q8_0", dry_run=True, session=session)
    assert [sentence.split(":")[0] for sentence in heard] == ["Q8_0"]


@pytest.mark.parametrize(
    ("bits", "preset"),
    [(8, "Q8_0"), ("4", "Q4_K_M"), ("4bit", "Q4_K_M"), ("8-bit", "Q8_0"), ("４ビット", "Q4_K_M")],
)
def test_a_number_of_bits_is_the_usual_preset_and_says_which(
    tiny: Path, bits: str | int, preset: str
) -> None:
    """The article's own words; the sentence behind tells what the preset really takes."""
    heard: list[str] = []
    session = Session.here(note=heard.append, keeps=False)
    made = quantize(tiny, bits=bits, dry_run=True, session=session)
    assert isinstance(made, MadePreset)
    assert made.recipe.preset == preset
    assert made.path.name == f"{tiny.stem}-{preset}.gguf"
    assert heard[0].startswith(f"This is the preset {preset}, the usual one")
    assert f"{made.recipe.bpw:.2f} bits per weight" in heard[1]


def test_which_preset_is_told_when_all_is_checked(tiny: Path, tmp_path: Path) -> None:
    """A wrong path, or a file that is there, is one message and not two."""
    heard: list[str] = []
    session = Session.here(note=heard.append, keeps=False)
    with pytest.raises(ModelNotFound):
        quantize(tmp_path / "nothing.gguf", bits=8, session=session)
    (tmp_path / "there.gguf").touch()
    with pytest.raises(Misuse):
        quantize(tiny, bits=8, output=tmp_path / "there.gguf", session=session)
    assert heard == []


@pytest.mark.parametrize("interrupted", ["an order of another version", ""])
def test_a_file_that_another_order_never_measured_is_told_as_that(
    tiny: Path, tmp_path: Path, interrupted: str
) -> None:
    """An interrupted order of another version has another digest: its file is neither taken for
    this order's, nor for the person's own.
    """
    out = tmp_path / "out.gguf"
    out.write_text("all of it")
    with locked_journal(out, interrupted) as journal:
        journal.begin("digest of the write", [tmp_path / ".out.gguf.part"])
    with pytest.raises(
        Misuse, match=r"interrupted before it measured.*of another version of hakaru.*`overwrite`"
    ):
        quantize(tiny, preset="Q8_0", output=out)
    assert out.read_text() == "all of it"
