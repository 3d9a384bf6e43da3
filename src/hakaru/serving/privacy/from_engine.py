"""Whether the engine could leak: a program in its place, in the very cell that it would get, tries
every way out. Baits outside show what arrived, whatever the program says.
"""

import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from hakaru.engine.bubblewrap import why_no_bubblewrap
from hakaru.engine.builds import selection
from hakaru.engine.environment import told
from hakaru.engine.isolation import PROCESSES, cell_of
from hakaru.language import say
from hakaru.places import run_dir
from hakaru.serving.privacy import leak_probes
from hakaru.serving.privacy.leaks import Finding

OUTSIDE: Final = ("192.0.2.1", "2001:db8::1")
"""Addresses that belong to nobody (RFC 5737, RFC 3849)."""
WITHIN_S: Final = 60.0
PRIVATE_FILES: Final = (
    "~/.ssh", "~/.gnupg", "~/.bash_history", "~/.bashrc", "~/.profile", "/etc/passwd",
    "/etc/hostname",
)  # fmt: skip


def engine_findings(
    model: Path, *, bare: bool = False, outside: tuple[str, str] = OUTSIDE
) -> list[Finding]:
    """What a program in the place of the engine of `model` reaches; with `bare`, without its cell.
    `outside` are the addresses that it calls, of IPv4 and IPv6.
    """
    if not bare and (reason := why_no_bubblewrap(*PROCESSES)):
        return [Finding(of="engine", name="isolation", verdict="fail", evidence=reason)]
    with tempfile.TemporaryDirectory(prefix="engine-", dir=run_dir()) as folder, _baits() as baits:
        asked = baits.asked | {
            "outside": outside[0], "outside6": outside[1], "nameserver": _nameserver(outside[0]),
            "model": str(model), "folders": [*baits.asked["folders"], "/tmp", "/"],
        }  # fmt: skip
        script = Path(leak_probes.__file__)
        cell = cell_of(selection().server, model, [script], folder=Path(folder))
        program = [os.path.realpath(sys.executable), "-I", "-S", str(script), json.dumps(asked)]
        environment = {**os.environ, baits.asked["variable"]: "x"}
        done = subprocess.run(
            program if bare else cell.around(program),
            env=environment if bare else told(environment),
            capture_output=True, text=True, timeout=WITHIN_S, check=False,
        )  # fmt: skip
        if done.returncode != 0:
            reason = done.stderr.strip().rpartition("\n")[2]
            return [Finding(of="engine", name="isolation", verdict="unknown", evidence=reason)]
        return [
            _finding(name, leaked, how, baits)
            for name, (leaked, how) in json.loads(done.stdout).items()
        ]


def _finding(name: str, leaked: bool, how: str, baits: "_Baits") -> Finding:
    """The verdict of one way, by what the program says and by what the bait saw."""
    if name in baits.missing:
        return Finding(of="engine", name=name, verdict="unknown", evidence=baits.missing[name])
    if name in baits.reached:
        return Finding(of="engine", name=name, verdict="fail", evidence=say("the bait was reached"))
    return Finding(of="engine", name=name, verdict="fail" if leaked else "pass", evidence=how)


class _Baits:
    """What lies outside to be reached, and what of it was reached."""

    def __init__(self) -> None:
        self.asked: dict[str, Any] = {}
        self.reached: set[str] = set()
        self.missing: dict[str, str] = {}  # baits that cannot be laid here, and why

    def listen(self, name: str, listener: socket.socket) -> None:
        """Note it when anything comes to `listener`, until it is closed."""

        def wait() -> None:
            with suppress(OSError):
                if listener.type == socket.SOCK_DGRAM:
                    listener.recv(1000)
                else:
                    listener.accept()[0].close()
                self.reached.add(name)

        threading.Thread(target=wait, daemon=True).start()


@contextmanager
def _baits() -> Iterator[_Baits]:
    """Listeners, a file, and a process, for as long as the block lasts."""
    baits = _Baits()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hakaru-bait-")))
        (folder / "secret").write_text("nobody but you", encoding="utf-8")
        abstract = f"hakaru-{uuid.uuid4()}"
        places: dict[str, tuple[int, int, Any]] = {
            "tcp": (socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 0)),
            "tcp6": (socket.AF_INET6, socket.SOCK_STREAM, ("::1", 0)),
            "udp": (socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", 0)),
            "udp6": (socket.AF_INET6, socket.SOCK_DGRAM, ("::1", 0)),
            "abstract": (socket.AF_UNIX, socket.SOCK_STREAM, f"\0{abstract}"),
            "socket": (socket.AF_UNIX, socket.SOCK_STREAM, str(folder / "s")),
        }
        baits.asked = {"tcp6": 1, "udp6": 1}
        for name, (family, kind, address) in places.items():
            try:
                listener = stack.enter_context(socket.socket(family, kind))
                listener.bind(address)
            except OSError as error:
                baits.missing[name] = str(error)
                continue
            if kind == socket.SOCK_STREAM:
                listener.listen()
            baits.listen(name, listener)
            if family != socket.AF_UNIX:
                baits.asked[name] = listener.getsockname()[1]
        bait = subprocess.Popen(["sleep", "600"], stdout=subprocess.DEVNULL)
        stack.callback(bait.wait)
        stack.callback(bait.kill)
        baits.asked |= {
            "abstract": abstract, "socket": str(folder / "s"), "pid": bait.pid,
            "variable": "HAKARU_BAIT", "folders": [str(folder)],
            "files": [str(folder / "secret"), *map(os.path.expanduser, PRIVATE_FILES)],
        }  # fmt: skip
        yield baits


def _nameserver(otherwise: str) -> str:
    """The server that this machine asks for names, of IPv4; `otherwise` where it has none."""
    with suppress(OSError):
        for line in Path("/etc/resolv.conf").read_text(encoding="utf-8").splitlines():
            words = line.split()
            if len(words) > 1 and words[0] == "nameserver" and "." in words[1]:
                if words[1].startswith("127."):  # in the cell that would be the cell itself
                    return otherwise
                return words[1]
    return otherwise
