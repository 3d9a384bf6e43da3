"""The command line of `serve` as a service."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from hakaru.cli import run
from hakaru.deploying.unit_words import quoted
from hakaru.testing import write_tiny_llama


@pytest.fixture
def unit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> str:
    """The unit for a model whose name is as hard as names are."""
    monkeypatch.chdir(tmp_path)
    write_tiny_llama(Path("my 100% model.gguf"))
    (tmp_path / "t.jinja").write_text("{{ messages }}")
    options = ["-c", "512", "--temp", "0.5", "--chat-template", "t.jinja", "--drain", "30s"]
    more = ["--alias", "a/b", "--allow-origin", "http://a:1", "--allow-origin", "http://b:2"]
    assert run(["serve", "my 100% model.gguf", *options, *more, "--generate", "systemd"]) == 0
    return capsys.readouterr().out


def test_it_is_this_very_command_line(unit: str, tmp_path: Path) -> None:
    """Files by their whole paths, quoted as systemd reads them; the end waits for the answers."""
    lines = dict(line.split("=", 1) for line in unit.splitlines() if "=" in line)
    program, _, words = lines["ExecStart"].partition(" serve ")
    assert Path(program).is_absolute()
    assert words == (
        f'"{tmp_path}/my 100%% model.gguf" --context 512 --temp 0.5 --chat-template '
        f"{tmp_path}/t.jinja --alias a/b --allow-origin http://a:1 --allow-origin http://b:2 "
        "--drain 30"
    )
    assert lines["TimeoutStopSec"] == "50"
    assert lines["KillMode"] == "mixed"


def test_its_locks_leave_bubblewrap_its_work(unit: str) -> None:
    """What would quietly end the isolation of the engine (tried with systemd 252), and what a
    manager of a person cannot hold everywhere, is not set.
    """
    lines = [line for line in unit.splitlines() if not line.startswith("#")]
    assert {"NoNewPrivileges=true", "LimitCORE=0"} <= set(lines)
    families = next(line for line in lines if line.startswith("RestrictAddressFamilies="))
    assert families.endswith(" AF_NETLINK")
    ends_it = ("RestrictNamespaces", "SystemCallFilter", "ProtectSystem", "PrivateUsers")
    assert not [line for line in lines if line.startswith(ends_it)]


@pytest.mark.parametrize(
    ("word", "written"),
    [
        ("plain/name-1.gguf", "plain/name-1.gguf"),
        ("日本語.gguf", "日本語.gguf"),
        ("a b", '"a b"'),
        ("50%", '"50%%"'),
        ("$HOME", '"$$HOME"'),
        ('say "hi" \\', '"say \\"hi\\" \\\\"'),
        ("", '""'),
        ("a\nExecStart=b", '"a\\x0aExecStart=b"'),
    ],
)
def test_words_are_quoted_as_systemd_reads_them(word: str, written: str) -> None:
    """Specifiers and variables are none; `systemd.service`(5), Command lines."""
    assert quoted(word) == written


def test_systemd_finds_nothing_wrong_with_it(unit: str, tmp_path: Path) -> None:
    """By its own checker, which also looks whether the program is there."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd is not installed: apt-get install systemd")
    path = tmp_path / "hakaru.service"
    path.write_text(unit)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--user", "--man=no", str(path)],
        capture_output=True, text=True, check=False, timeout=60,
        env=os.environ | {"XDG_RUNTIME_DIR": str(tmp_path)},
    )  # fmt: skip
    about_it = [line for line in done.stderr.splitlines() if "hakaru.service" in line]
    assert about_it == [] and done.returncode == 0, done.stderr


def test_what_would_not_start_makes_no_unit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A missing model and a wrong option are told now, not by a service that fails at night."""
    assert run(["serve", str(tmp_path / "none.gguf"), "--generate", "systemd"]) == 4
    model = write_tiny_llama(tmp_path / "m.gguf")
    assert run(["serve", str(model), "--temp", "-1", "--generate", "systemd"]) == 2
    assert (
        run(["serve", str(model), "--api-key", "secret-1234567890", "--generate", "systemd"]) == 2
    )
    said = capsys.readouterr()
    assert said.out == "" and "--api-key-file" in said.err and "secret" not in said.err
