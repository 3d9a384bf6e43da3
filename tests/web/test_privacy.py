"""The part "Privacy" of the page: what it says is what the system says."""

import os
import shutil
import socket
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from hakaru.engine.isolation import engine_below
from hakaru.language import use_language
from hakaru.web.privacy_tab import interfaces, is_this_machine, our_sockets, privacy_cards

TABLE = """Inter-|   Receive   |  Transmit
 face |bytes packets errs drop fifo frame compressed multicast|bytes packets errs drop
    lo: 100 2 0 0 0 0 0 0 100 2 0 0
  eth0: 5000000 4000 0 0 0 0 0 0 123456 3000 0 0
"""


def served_by(pid: int) -> Any:
    """A server whose engine is the process `pid`."""
    server = SimpleNamespace(engine_pid=engine_below(pid))
    return [("m", SimpleNamespace(server=server))]


@pytest.mark.parametrize(
    ("address", "local"),
    [
        ("127.0.0.1:8600", True),
        ("[::1]:8600", True),
        ("127.8.0.1:1", True),
        ("0.0.0.0:8600", False),
        ("[::]:8600", False),
        ("192.168.1.2:80", False),
        ("[fe80::1%eth0]:80", False),
        ("[::ffff:127.0.0.1]:80", True),
    ],
)
def test_only_loopback_is_this_machine(address: str, local: bool) -> None:
    """The address of every interface is none."""
    assert is_this_machine(address) == local


def test_every_listening_address_is_told() -> None:
    """One at every interface is told as such, also where a child listens; connections within this
    machine are counted.
    """
    code = (
        "import socket, sys; s = socket.create_server(('0.0.0.0', 0)); "
        "print(s.getsockname()[1], flush=True); sys.stdin.read()"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with (
        socket.create_server(("127.0.0.1", 0)) as own,
        socket.create_connection(own.getsockname()),
        subprocess.Popen([sys.executable, "-c", code], **pipes) as child,  # type: ignore[call-overload]
    ):
        port = int(child.stdout.readline())
        sockets = our_sockets()
        assert sockets and f"127.0.0.1:{own.getsockname()[1]}" in sockets.listening
        listens, left, _ = privacy_cards(served_by(os.getpid()))
        child.stdin.close()
    assert sockets and not sockets.outward and sockets.within >= 1
    assert f"0.0.0.0:{port}" in listens.value and listens.kind == "bad"
    assert (left.value, left.kind) == ("0", "good")


def test_an_interface_has_what_it_sent() -> None:
    """The ninth number of its line."""
    assert dict(interfaces(TABLE)) == {"lo": 100, "eth0": 123456}


@pytest.mark.skipif(sys.platform != "linux", reason="Linux alone has such a table")
@pytest.mark.parametrize("language", ["en", "ja"])
def test_an_engine_that_shares_the_network_is_not_called_isolated(language: str) -> None:
    """This very process is one."""
    use_language(language)
    engine = privacy_cards(served_by(os.getpid()))[-1]
    assert engine.value == {"en": "not isolated", "ja": "隔離なし"}[language]
    assert engine.kind == ""


@pytest.mark.skipif(shutil.which("bwrap") is None, reason="bubblewrap is not installed")
def test_an_engine_in_a_network_of_its_own_is_told_with_its_number() -> None:
    """Also where bubblewrap stands between the engine and us; nothing was sent there."""
    command = ["bwrap", "--ro-bind", "/", "/", "--unshare-net", "--unshare-pid", "cat"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as cell:
        assert cell.stdin and cell.stdout
        cell.stdin.write(b"ready\n")
        cell.stdin.flush()
        if not cell.stdout.readline():
            pytest.skip("this system allows no network namespaces")
        engine = privacy_cards(served_by(cell.pid))[-1]
        cell.stdin.close()
    ours = str(os.readlink("/proc/self/ns/net")).strip("net:[]")
    assert engine.value == "✓ isolated" and engine.kind == "good"
    assert "no other interface than lo, through which 0 B went" in engine.note
    assert ours not in engine.note
