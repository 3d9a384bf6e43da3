"""The check of privacy sees every leak: the same program without its cell, and a command that asks
for a name.
"""

import json
import sys
from pathlib import Path

import pytest

from hakaru.cli import run
from hakaru.engine.bubblewrap import why_no_bubblewrap
from hakaru.engine.isolation import PROCESSES
from hakaru.serving.privacy import check, from_engine
from hakaru.serving.privacy.from_commands import COUNTED, counted, counts_of
from hakaru.serving.privacy.from_engine import engine_findings
from hakaru.serving.privacy.leaks import Finding

WHY_NOT = why_no_bubblewrap(*PROCESSES)
needs_bubblewrap = pytest.mark.skipif(WHY_NOT is not None, reason=f"no isolation: {WHY_NOT}")
NOT_HERE = ("interfaces", "dns", "outside", "outside6")
"""Where no network is, as in a container without one, these do not leak without a cell either."""


@needs_bubblewrap
def test_nothing_leaks_from_the_cell_of_the_engine(tiny: Path) -> None:
    """Every way is stopped, and says by what; IPv6 may be missing here."""
    found = engine_findings(tiny)
    assert len(found) == 17
    bad = [f for f in found if f.verdict != "pass" and not f.name.endswith("6")]
    assert bad == []
    assert all(f.evidence for f in found)
    assert {f.name: f.evidence for f in found}["outside"] == "Network is unreachable"


def test_the_same_program_leaks_without_the_cell(tiny: Path) -> None:
    """So a pass means something. The addresses outside are this machine, since no test calls
    anybody.
    """
    found = {f.name: f for f in engine_findings(tiny, bare=True, outside=("127.0.0.1", "::1"))}
    leaks = {name for name, f in found.items() if f.verdict == "fail"}
    unsure = {name for name, f in found.items() if f.verdict == "unknown"}
    assert found.keys() - leaks - unsure <= {*NOT_HERE, "ptrace"}  # where users may trace nobody
    assert {"tcp", "udp", "abstract", "socket", "files", "model", "write", "environment"} <= leaks
    assert "the bait was reached" in found["tcp"].evidence


@needs_bubblewrap
@pytest.mark.parametrize(
    ("code", "verdict"),
    [
        ("pass", "pass"),
        ("import socket as s; s.socket().connect_ex(('192.0.2.1', 443))", "fail"),
        ("import socket as s; s.socket(s.AF_INET6).connect_ex(('2001:db8::1', 443))", "fail"),
        (
            "import socket as s; s.socket(s.AF_INET, s.SOCK_DGRAM).sendto(b'', ('127.0.0.1', 53))",
            "fail",
        ),
        ("import socket as s; s.socket().connect_ex(('127.0.0.1', 80))", "pass"),
        ("import urllib.request as r; r.urlopen('http://127.0.0.1:80')", "fail"),  # by a proxy
        ("raise SystemExit('no')", "unknown"),
    ],
)
def test_a_command_that_calls_out_is_counted(code: str, verdict: str) -> None:
    """TCP and UDP of both kinds, whether the program says so or not, also what a proxy elsewhere
    is asked; not what stays here.
    """
    found = counted("code", [sys.executable, "-I", "-S", "-c", code])
    assert found.verdict == verdict, found
    if verdict != "unknown":
        assert [word.split()[0] for word in found.evidence.split(", ")] == list(COUNTED)


def test_servers_that_run_here_are_not_found_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A chat would ask one of them, and find no way to it."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    (tmp_path / "hakaru").mkdir()
    code = "import os; assert not os.path.exists(os.environ['XDG_RUNTIME_DIR'] + '/hakaru')"
    assert counted("code", [sys.executable, "-I", "-S", "-c", code]).verdict == "pass"


def test_counters_are_read_by_their_names() -> None:
    """Of both files of the kernel."""
    text = "Ip: A OutNoRoutes\nIp: 1 2\nUdp: B\nUdp: -3\nIp6OutNoRoutes   \t4\n"
    assert counts_of(text) == {"IpA": 1, "IpOutNoRoutes": 2, "UdpB": -3, "Ip6OutNoRoutes": 4}


def test_where_the_engine_is_not_isolated_the_check_fails(
    tiny: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the reason, and exit code 1."""
    monkeypatch.setattr(from_engine, "why_no_bubblewrap", lambda *options: "it is forbidden")
    monkeypatch.setattr(check, "command_findings", lambda commands: [])
    assert run(["privacy-check", "--json"]) == 1
    shown = json.loads(capsys.readouterr().out)
    assert shown["findings"] == [
        {"of": "engine", "name": "isolation", "verdict": "fail", "evidence": "it is forbidden"}
    ]


@needs_bubblewrap
def test_each_way_has_a_line_and_the_sum_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A way of which nobody can tell is no leak: exit code 0."""
    unsure = Finding(of="command", name="fit", verdict="unknown", evidence="it was late")
    monkeypatch.setattr(check, "command_findings", lambda commands: [unsure])
    assert run(["privacy-check"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "PASS  the engine: TCP to the outside: Network is unreachable" in lines
    assert lines.count("cannot tell  hakaru fit, without a network: it was late") == 5
    assert lines[-1].startswith("22 ways tried: 0 leak, of ")


@needs_bubblewrap
@pytest.mark.engine
def test_commands_ask_nothing_of_the_network() -> None:
    """The whole check, as a person runs it."""
    assert [f for f in check.privacy_check() if f.of == "command" and f.verdict != "pass"] == []
