"""A checkpoint is converted by the person's own converter: whole or not at all, and once."""

import os
import sys
import time
from pathlib import Path

import pytest

from hakaru.cli import run
from hakaru.errors import EngineRefused, Misuse
from hakaru.models.sources.conversion import convert
from hakaru.places import data_dir
from hakaru.testing import write_tiny_llama

REAL_PYTHON = sys.executable
CONVERTER = """import shutil, sys
from pathlib import Path
folder, _, out, _, kind = sys.argv[1:]
assert kind == "auto"
print("converting")
with (Path(folder).parent / "calls").open("a") as calls:
    calls.write("x")
if (Path(folder) / "broken").exists():
    Path(out).write_bytes(b"half")
    print("ModuleNotFoundError: No module named 'torch'", file=sys.stderr)
    sys.exit(1)
shutil.copy(Path(folder) / "weights", out)
"""


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A folder that the stand-in for llama.cpp's converter understands."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    write_tiny_llama(folder / "weights")
    for path in folder.iterdir():
        os.utime(path, (1, 1))
    return folder


@pytest.fixture
def converter(tmp_path: Path) -> Path:
    """A converter that copies, and counts its calls."""
    path = tmp_path / "convert_hf_to_gguf.py"
    path.write_text(CONVERTER)
    return path


def test_a_checkpoint_is_converted_once(checkpoint: Path, converter: Path) -> None:
    """Again only when the checkpoint changes. What the converter says is passed on."""
    said: list[str] = []
    found = convert(str(checkpoint), converter, on_line=said.append)
    assert found.path.read_bytes() == (checkpoint / "weights").read_bytes()
    assert said == ["converting"]
    assert convert(str(checkpoint), converter).path == found.path
    assert checkpoint.with_name("calls").read_text() == "x"
    os.utime(checkpoint / "weights", (0, 0))  # an older file is another one, too
    assert convert(str(checkpoint), converter).path != found.path
    assert checkpoint.with_name("calls").read_text() == "xx"


def test_a_file_beside_the_folder_is_neither_taken_nor_replaced(
    checkpoint: Path, converter: Path
) -> None:
    """A person's own model.gguf beside the folder model has nothing to do with it."""
    own = checkpoint.with_name("model.gguf")
    own.write_bytes(b"my other model")
    found = convert(str(checkpoint), converter)
    assert found.path.read_bytes() == (checkpoint / "weights").read_bytes()
    assert own.read_bytes() == b"my other model"


def test_what_the_converter_started_ends_with_it(checkpoint: Path, tmp_path: Path) -> None:
    """Ctrl-C reaches the whole group: a wrapper's own child leaves no half file."""
    wrapper = tmp_path / "wrapper.sh"
    wrapper.write_text('#!/bin/sh\nsh -c "echo $$; sleep 3; echo late > $3"\necho end\n')
    wrapper.chmod(0o755)

    def interrupt(line: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert(str(checkpoint), wrapper, on_line=interrupt)
    time.sleep(3.5)
    assert not [path for path in data_dir("converted").rglob("*") if path.is_file()]


def test_a_converter_that_fails_leaves_nothing(checkpoint: Path, converter: Path) -> None:
    """Its last words are the reason."""
    (checkpoint / "broken").touch()
    with pytest.raises(EngineRefused, match="No module named 'torch'"):
        convert(str(checkpoint), converter)
    assert not [path for path in data_dir("converted").rglob("*") if path.is_file()]


def test_what_is_no_checkpoint_or_no_converter_is_one_sentence(
    checkpoint: Path, converter: Path, tmp_path: Path
) -> None:
    """A GGUF file needs none; a path that is wrong is named; a program that cannot be started is,
    too.
    """
    with pytest.raises(Misuse, match=r"is no Hugging Face folder"):
        convert(str(checkpoint / "weights"), converter)
    with pytest.raises(Misuse, match=r"missing\.py is no file"):
        convert(str(checkpoint), tmp_path / "missing.py")
    converter.write_text("#!/nowhere\n")
    converter.chmod(0o755)
    with pytest.raises(Misuse, match="cannot be run"):
        convert(str(checkpoint), converter)


@pytest.mark.engine
def test_quantize_takes_a_checkpoint_with_its_converter(
    checkpoint: Path, converter: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """To a preset, from a folder."""
    out = tmp_path / "small.gguf"
    command = [
        "quantize",
        str(checkpoint),
        "--type",
        "Q8_0",
        "--converter",
        str(converter),
        "-o",
        str(out),
    ]
    assert run(command) == 0
    assert "written, read back and verified" in capsys.readouterr().out
    assert out.is_file()


@pytest.mark.engine
def test_a_checkpoint_finds_an_installed_converter(
    checkpoint: Path,
    converter: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On the PATH, where it is installed; else one sentence says how to get it. A dry run converts
    nothing.
    """
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    command = ["quantize", str(checkpoint), "--type", "Q8_0", "-o", str(tmp_path / "small.gguf")]
    assert run(command) == 2
    assert "name it as --converter" in capsys.readouterr().err
    packaged = tmp_path / "bin" / "convert-hf-to-gguf"
    packaged.parent.mkdir()
    packaged.write_text(f"#!{REAL_PYTHON}\n{converter.read_text()}")
    packaged.chmod(0o755)
    assert run([*command, "--dry-run"]) == 2
    assert "--dry-run changes nothing" in capsys.readouterr().err
    assert run([*command[:3], "Q8_O", *command[4:]]) == 2
    assert "--type is 'Q8_O'" in capsys.readouterr().err
    assert not list(tmp_path.glob("*.gguf")) and not checkpoint.with_name("calls").exists()
    monkeypatch.setattr("sys.executable", REAL_PYTHON)
    monkeypatch.setattr("shutil.which", lambda name, path=None: str(packaged))
    assert run(command) == 0
    assert (tmp_path / "small.gguf").is_file()
