"""What a mix gains, told."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace
from rich.cells import cell_len

from hakaru.choosing.mix_gain import Gain
from hakaru.cli.tell.gain import gain_json, print_gain
from hakaru.evaluation.divergence import identical
from hakaru.language import use_language
from hakaru.models.model import read_model
from hakaru.quantization.build import mix_recipe, plan_presets
from hakaru.testing import tiny_shape, write_tiny_llama
from hakaru.units import Figure


@pytest.fixture(scope="module")
def gain(tmp_path_factory: pytest.TempPathFactory) -> Gain:
    """A mix that loses a fifth of what Q4_K_M loses, of a model in a folder with a blank."""
    path = tmp_path_factory.mktemp("my models") / "model.gguf"
    model = read_model(write_tiny_llama(path, tiny_shape(n_vocab=1024)))
    (preset,) = plan_presets(model, ["Q4_K_M"])
    mix = mix_recipe(model, {name: "Q4_0" for name in preset.types if name.endswith("weight")})
    lost = replace(identical(), n_windows=12)
    return Gain(
        source=model,
        preset=preset,
        preset_quality=lost,
        mix=mix,
        mix_quality=lost,
        ratio=Figure(value=0.2, unit="ratio", source="measured", low=0.1, high=0.4),
        n_copied=3,
        copied_bytes=3 * 2**20,
        n_tensors=12,
    )


@pytest.fixture
def any_language() -> Iterator[None]:
    yield
    use_language("en")


@pytest.mark.parametrize("width", [60, 80, 120])
@pytest.mark.parametrize("language", ["en", "ja"])
@pytest.mark.usefixtures("any_language")
def test_a_gain_fits_its_terminal_and_its_command_stays_whole(
    gain: Gain,
    language: str,
    width: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Only the command may be longer than a line: it is pasted."""
    use_language(language)
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    print_gain(gain)
    lines = re.sub(r"\x1b\[\d*m", "", capsys.readouterr().out).splitlines()
    (command,) = [line for line in lines if " quantize " in line]
    assert f"'{gain.source.path}'" in command
    assert f"--type {gain.mix.preset} -o model-{gain.mix.preset}.gguf" in command
    assert [line for line in lines if line != command and cell_len(line) > width] == []
    assert any("80%" in line for line in lines)


def test_a_mix_that_is_not_proven_better_is_told_so_and_no_command_is_named(
    gain: Gain, capsys: pytest.CaptureFixture[str]
) -> None:
    """The interval of the ratio reaches 1."""
    print_gain(replace(gain, ratio=replace(gain.ratio, value=0.9, low=0.6, high=1.1)))
    said = capsys.readouterr().out
    assert "not proven that the mix loses less than Q4_K_M: 60% to 110% of its loss" in said
    assert "quantize" not in said


def test_the_object_of_json_holds_both_levels_and_the_command(gain: Gain) -> None:
    """With the bytes that are copied."""
    told = gain_json(gain)
    assert set(told) == {"source", "preset", "mix", "ratio_to_preset", "copied", "command"}
    assert (told["preset"]["type"], told["mix"]["bytes"]) == ("Q4_K_M", gain.mix.weights_bytes)
    assert told["copied"] == {"tensors": 3, "of": 12, "bytes": 3 * 2**20}
    assert Path(told["command"].rsplit(" ", 1)[1]).name == f"model-{gain.mix.preset}.gguf"
