"""An interrupted `hakaru quantize`: wherever it was, the same command ends with the same file, and only one command writes a file."""

import hashlib
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from hakaru.quantization.journal import journal_path

pytestmark = pytest.mark.engine


def command(source: Path, out: Path) -> list[str]:
    return [sys.executable, "-m", "hakaru", "quantize", str(source), "--bpw", "5", "--effort", "quick", "-o", str(out)]


def stopped_at(step: str, number: signal.Signals, source: Path, out: Path) -> tuple[int, str]:
    """The command's exit code and stderr, its whole tree having got the signal (Ctrl-C: itself) when it announced `step`."""
    process = subprocess.Popen(command(source, out), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    assert process.stderr
    said = []
    for line in process.stderr:
        said.append(line)
        if line.strip() == f"{step} …":
            tree = psutil.Process(process.pid).children(recursive=True) if number == signal.SIGKILL else []
            for member in [psutil.Process(process.pid), *tree]:
                member.send_signal(number)
            break
    said.append(process.stderr.read())
    return process.wait(60), "".join(said)


@pytest.mark.parametrize(
    ("step", "number"),
    [
        ("runs", signal.SIGKILL),
        ("race", signal.SIGINT),
        ("write", signal.SIGKILL),
        ("test", signal.SIGKILL),
        ("test", signal.SIGINT),
    ],
)
def test_the_same_command_ends_with_the_same_file(tiny: Path, tmp_path: Path, step: str, number: signal.Signals) -> None:
    """What was measured is not measured again; what was written and not measured is measured, and not written again."""
    out, whole = tmp_path / "out.gguf", tmp_path / "whole.gguf"
    code, said = stopped_at(step, number, tiny, out)
    assert code == (-signal.SIGKILL if number == signal.SIGKILL else 130)
    if step == "test":
        assert out.is_file()
        assert number == signal.SIGKILL or ("only" not in said and "the same command goes on there" in said)
    done = subprocess.run(command(tiny, out), capture_output=True, text=True, check=True, timeout=120)
    again = re.findall(r"^  (\w[\w ]*) …$", done.stderr, re.MULTILINE)
    assert not {"importance", "probes", "errors"} & set(again), "known before the first of these steps"
    if step == "test":
        assert "write" not in again and "race" not in again
    assert "written, read back and verified" in done.stdout
    subprocess.run(command(tiny, whole), capture_output=True, check=True, timeout=120, env=os.environ)
    assert hashlib.sha256(out.read_bytes()).digest() == hashlib.sha256(whole.read_bytes()).digest()
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_second_command_is_refused_at_once(tiny: Path, tmp_path: Path) -> None:
    """While the first one measures, long before it writes; and after its end an existing file is what refuses."""
    out = tmp_path / "out.gguf"
    first = subprocess.Popen(command(tiny, out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not journal_path(out).exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    second = subprocess.run(command(tiny, out), capture_output=True, text=True, check=False, timeout=60)
    assert (second.returncode, second.stdout) == (1, "")
    assert "another process is writing this file" in second.stderr
    assert "…" not in second.stderr, "nothing was measured for it"
    assert first.wait(120) == 0
    third = subprocess.run(command(tiny, out), capture_output=True, text=True, check=False, timeout=60)
    assert (third.returncode, "exists already" in third.stderr) == (2, True)
