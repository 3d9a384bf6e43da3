"""Completion in the shells themselves."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hakaru.cli import run


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a model, in which `hakaru` is found."""
    program = tmp_path / "bin" / "hakaru"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m hakaru "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own-model.gguf").touch()
    return tmp_path


def lines_of(shell: str, capsys: pytest.CaptureFixture[str]) -> str:
    assert run(["completion", shell]) == 0
    return capsys.readouterr().out


def ran(shell: str, script: str) -> list[str]:
    """What a shell prints that runs `script`, line by line."""
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed: apt-get install {shell}")
    bare = {"bash": ["--norc", "-c"], "zsh": ["-f", "-c"], "fish": ["--no-config", "-c"]}[shell]
    done = subprocess.run(
        [shell, *bare, script], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stderr == "", done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["hakaru", "se"], ["serve"]),
        (["hakaru", "serve", "--no-such", "--gpu"], ["--gpu-layers"]),
        (["hakaru", "completion", ""], ["bash", "zsh", "fish"]),
        (["hakaru", "fit", "qwen3-vl-8b-ins"], ["qwen3-vl-8b-instruct"]),
        (["hakaru", "serve", "own"], ["own-model.gguf"]),
        (["hakaru", "serve", "x.gguf", "--mmproj", "own"], ["own-model.gguf"]),
    ],
)
def test_bash_completes(
    words: list[str], expected: list[str], place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Commands, options, choices, names of models, and files: by the function that Tab calls. For
    files bash itself is told to look (compopt), which compgen does here.
    """
    typed = " ".join(f"'{word}'" for word in words)
    script = f"""
{lines_of("bash", capsys)}
compopt() {{ asked_for_files=1; }}
COMP_WORDS=({typed}); COMP_CWORD={len(words) - 1}
_hakaru_completion hakaru '{words[-1]}'
if [ -n "$asked_for_files" ]; then COMPREPLY=($(compgen -f -- '{words[-1]}')); fi
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
    assert ran("bash", script) == expected


def test_bash_knows_whom_to_ask(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The lines can be read at every start of a shell, and name the function."""
    told = ran("bash", f"{lines_of('bash', capsys)}\ncomplete -p hakaru")
    assert told == ["complete -o nosort -F _hakaru_completion hakaru"]


def test_fish_completes(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By fish's own `complete -C`, with what each is for."""
    script = f"{lines_of('fish', capsys)}\ncomplete -C 'hakaru se'; complete -C 'hakaru serve --gp'"
    serve, layers = ran("fish", script)
    assert serve.startswith("serve\tServe a model")
    assert layers.startswith("--gpu-layers\tLayers on accelerators")
    files = ran("fish", f"{lines_of('fish', capsys)}\ncomplete -C 'hakaru serve own'")
    assert files == ["own-model.gguf"]


def test_zsh_takes_the_lines(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Behind compinit the function is zsh's for hakaru, and its answer is one that zsh reads."""
    script = (
        f"autoload -U compinit; compinit -u -D\n{lines_of('zsh', capsys)}\nprint $_comps[hakaru]"
    )
    assert ran("zsh", script) == ["_hakaru_completion"]
    asked = "COMP_WORDS='hakaru se' COMP_CWORD=1 _HAKARU_COMPLETE=zsh_complete hakaru"
    assert ran("zsh", asked)[:2] == ["plain", "serve"]


def test_an_answer_comes_while_a_person_waits(place: Path) -> None:
    """Nothing of the engine or of numbers is imported for it."""
    environment = os.environ | {
        "COMP_WORDS": "hakaru serve qwen3",
        "COMP_CWORD": "2",
        "_HAKARU_COMPLETE": "bash_complete",
    }
    code = (
        "import sys; from hakaru.cli import run; run([]); "
        "print(sorted({'numpy', 'httpx', 'xllamacpp'} & set(sys.modules)), file=sys.stderr)"
    )
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment, capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    assert time.perf_counter() - began < 20  # a busy machine; half a second alone
    assert "plain,qwen3-8b" in done.stdout
    assert done.stderr == "[]\n"
