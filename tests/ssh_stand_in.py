"""`ssh` for tests: a program that runs the words here, and a real sshd on loopback."""

import getpass
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from ports import free_port

SSH = """#!/bin/sh
# ssh, but the other machine is this one: options, then --, the host, and a line for its shell.
while [ "$1" != -- ]; do shift; done
case "$2" in
    down) echo "ssh: connect to host down port 22: No route to host" >&2; exit 255 ;;
    me@empty) PATH=/usr/bin:/bin ;;
    *) export SSH_CONNECTION="10.0.0.1 50022 10.0.0.2 22" ;;
esac
exec sh -c "$3"
"""


def program(folder: Path, name: str, text: str) -> Path:
    """A program of that name, found before all others by whoever has `folder` in the PATH first."""
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)
    return path


def in_path(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`folder` comes first, with a `hakaru` that is this one."""
    program(folder, "hakaru", f'#!/bin/sh\nexec {sys.executable} -m hakaru "$@"\n')
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


def ssh_that_stays_here(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An ssh that runs everything on this machine; the host `down` is not reached, and on `empty`
    there is no hakaru.
    """
    program(folder, "ssh", SSH)
    in_path(folder, monkeypatch)


@contextmanager
def sshd(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A real sshd on loopback with a key of its own; what ssh calls it."""
    ssh, server = (shutil.which(name, path="/usr/bin:/usr/sbin") for name in ("ssh", "sshd"))
    if server is None or ssh is None:
        pytest.skip("there is no OpenSSH server here: install openssh-server")
    if os.geteuid() == 0:  # what it leaves to a service's start; it refuses to start without
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    for key in ("host", "mine"):
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / key], check=True
        )
    port = free_port()
    (folder / "sshd_config").write_text(
        f"ListenAddress 127.0.0.1:{port}\nHostKey {folder}/host\nPidFile none\n"
        f"AuthorizedKeysFile {folder}/mine.pub\nStrictModes no\nUsePAM no\n"
        f"PermitRootLogin prohibit-password\nSetEnv PATH={folder}/bin:{os.environ['PATH']}\n"
    )
    (folder / "config").write_text(
        f"Host far\n HostName 127.0.0.1\n Port {port}\n User {getpass.getuser()}\n"
        f" IdentityFile {folder}/mine\n IdentitiesOnly yes\n StrictHostKeyChecking no\n"
        f" UserKnownHostsFile {folder}/known\n LogLevel ERROR\n"
    )
    bin_folder = folder / "bin"
    program(bin_folder, "ssh", f'#!/bin/sh\nexec {ssh} -F {folder}/config "$@"\n')
    in_path(bin_folder, monkeypatch)
    process = subprocess.Popen([server, "-D", "-e", "-f", str(folder / "sshd_config")])
    try:
        until = time.monotonic() + 10
        while not is_open(port):
            assert process.poll() is None and time.monotonic() < until
            time.sleep(0.05)
        yield "far"
    finally:
        process.terminate()
        process.wait()


def is_open(port: int) -> bool:
    """Whether somebody listens there on loopback."""
    with closing(socket.socket()) as client:
        return client.connect_ex(("127.0.0.1", port)) == 0
