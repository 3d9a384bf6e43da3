"""An interrupted `hakaru quantize`: wherever it was, the same command ends with the same file, and
only one command writes a file.
"""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Final, NamedTuple

import psutil
import pytest

import little_effort
from hakaru.quantization.journal import journal_path

pytestmark = pytest.mark.engine
MEASURING: Final = {
    "texts read for importance data",
    "texts read to find which tensors matter",
    "tensors sampled for how types round them",
}
RACING, WRITING, READING = (
    "texts read to race the mix against presets",
    "tensors written to the file",
    "texts read with the new file",
)


def command(source: Path, out: Path) -> list[str]:
    return [
        sys.executable,
        little_effort.__file__,
        "quantize",
        str(source),
        "--bpw",
        "5",
        "--effort",
        "quick",
        "-o",
        str(out),
    ]


def stopped_at(step: str, number: signal.Signals, source: Path, out: Path) -> tuple[int, str]:
    """The command's exit code and stderr, its whole tree having got the signal (Ctrl-C: itself)
    when it announced `step`.
    """
    said = []
    with subprocess.Popen(
        command(source, out), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr
        for line in process.stderr:
            said.append(line)
            if line.strip() == f"{step} …":
                tree = (
                    psutil.Process(process.pid).children(recursive=True)
                    if number == signal.SIGKILL
                    else []
                )
                for member in [psutil.Process(process.pid), *tree]:
                    member.send_signal(number)
                break
        said.append(process.stderr.read())
    return process.returncode, "".join(said)


class Uninterrupted(NamedTuple):
    """A file that nobody interrupted, and what a second command said while the first measured."""

    out: Path
    second: "subprocess.CompletedProcess[str]"


@pytest.fixture(scope="module")
def whole(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Uninterrupted:
    """In a home of its own."""
    home = tmp_path_factory.mktemp("home")
    places = os.environ | {name: str(home) for name in ("XDG_DATA_HOME", "XDG_CACHE_HOME")}
    line = command(tiny, out := home / "whole.gguf")
    with subprocess.Popen(
        line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=places
    ) as first:
        deadline = time.monotonic() + 60
        while not journal_path(out).exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        second = subprocess.run(
            line, capture_output=True, text=True, check=False, timeout=60, env=places
        )
        assert first.wait(300) == 0
    return Uninterrupted(out, second)


STOPS: Final = ((RACING, signal.SIGKILL), (READING, signal.SIGKILL), (READING, signal.SIGINT))


def test_the_same_command_ends_with_the_same_file(
    tiny: Path, tmp_path: Path, whole: Uninterrupted
) -> None:
    """However often it is stopped: what was measured is not measured again; what was written and
    not measured is measured, and not written again.
    """
    out, is_written = tmp_path / "out.gguf", False
    for attempt, (step, number) in enumerate(STOPS):
        code, said = stopped_at(step, number, tiny, out)
        assert code == (-signal.SIGKILL if number == signal.SIGKILL else 130)
        assert attempt == 0 or not steps(said) & MEASURING
        assert not is_written or not steps(said) & {WRITING, RACING}
        is_written = out.is_file()
        assert is_written == (step == READING)
    assert "the same command goes on there" in said
    done = subprocess.run(
        command(tiny, out), capture_output=True, text=True, check=True, timeout=300
    )
    assert not steps(done.stderr) & (MEASURING | {WRITING, RACING})
    assert "written, read back and verified" in done.stdout
    assert out.read_bytes() == whole.out.read_bytes()
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def steps(said: str) -> set[str]:
    """The steps that a command began, as its progress names them."""
    return set(re.findall(r"^  (\w[\w ]*) …$", said, re.MULTILINE))


def test_a_second_command_is_refused_at_once(tiny: Path, whole: Uninterrupted) -> None:
    """While the first one measures, long before it writes; and after its end an existing file is
    what refuses.
    """
    assert (whole.second.returncode, whole.second.stdout) == (1, "")
    assert "another process is writing this file" in whole.second.stderr
    assert "…" not in whole.second.stderr, "nothing was measured for it"
    third = subprocess.run(
        command(tiny, whole.out), capture_output=True, text=True, check=False, timeout=60
    )
    assert (third.returncode, "exists already" in third.stderr) == (2, True)
