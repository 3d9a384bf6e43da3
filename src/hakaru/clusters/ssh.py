"""Other machines, reached by this system's own `ssh`: its keys, its known hosts and its
configuration count. It is never asked for a password, and a machine that falls silent is given up.
"""

import shlex
import socket
import subprocess
from typing import Final

import psutil

from hakaru.clusters.cluster import Node
from hakaru.errors import MachineError, NodeError, NodeUnreachable, NodeUnready

END: Final = r"$(?!\n)"
"""Of a pattern; a `$` alone would let a line break stand behind."""
SSH_NAME: Final = r"^[A-Za-z0-9_]\S*" + END
"""What may stand for a machine: nothing that ssh would take for an option."""
CONNECT_S: Final = 10
SILENT_S: Final = 5
SILENCES: Final = 3
"""A machine that answers nothing for SILENT_S, so many times in turn, is gone. A session of its own
(no ControlPath), since a tunnel in a shared one would outlive the command.
"""
OPTIONS: Final = (
    *("-o", "BatchMode=yes"),
    *("-o", f"ConnectTimeout={CONNECT_S}"),
    *("-o", f"ServerAliveInterval={SILENT_S}"),
    *("-o", f"ServerAliveCountMax={SILENCES}"),
    *("-o", "ExitOnForwardFailure=yes"),
    *("-o", "ControlPath=none"),
)
"""It asks no question, and ends where it cannot listen or the machine does not answer."""
SSH_FAILED: Final = 255  # ssh(1): exit status
_NOT_FOUND: Final = 127  # sh(1): there is no such command


def ssh_command(host: str, words: str, *options: str) -> list[str]:
    """The command that runs `words`, a line for the shell there, on `host`."""
    return ["ssh", "-T", *OPTIONS, *options, "--", host, words]


def hakaru_there(hakaru: str, *words: str) -> str:
    """The line for a shell that runs hakaru on another machine, where `hakaru` is its command."""
    return f"{hakaru} {shlex.join(words)}"


def host_of(node: Node) -> str:
    """What ssh calls the node."""
    return node.ssh or node.address


def run_there(host: str, words: str, *, within_s: float) -> str:
    """What `words` print on `host`. Raises NodeUnreachable, NodeUnready where there is no such
    command, and NodeError where it fails.
    """
    try:
        done = subprocess.run(
            ssh_command(host, words),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=within_s,
            check=False,
        )
    except FileNotFoundError as error:
        raise no_ssh() from error
    except subprocess.TimeoutExpired as error:
        raise NodeUnreachable(
            "{host}: no answer within {seconds:.0f} s.", host=host, seconds=within_s
        ) from error
    if done.returncode:
        raise failed_there(host, done.returncode, done.stderr, words)
    return done.stdout


def no_ssh() -> MachineError:
    """The error for a system without ssh."""
    return MachineError("there is no ssh here; install OpenSSH's client.")


def failed_there(host: str, code: int, said: str, words: str) -> NodeError:
    """The error for `words` that ended with exit `code` on `host`, having `said` something on
    stderr.
    """
    last = next((line for line in reversed(said.splitlines()) if line.strip()), "-")
    if code == SSH_FAILED:
        return NodeUnreachable(
            "{host}: ssh does not get there ({reason}); try it by hand: ssh {host}",
            host=host,
            reason=last.removeprefix("ssh: ").rstrip("."),
        )
    if code == _NOT_FOUND:
        return NodeUnready(
            "{host}: there is no {program} there; install hakaru there, or name its command with "
            "`hakaru`.",
            host=host,
            program=words.split()[0],
        )
    return NodeError("{host}: {reason}", host=host, reason=last.removeprefix("hakaru: "))


def is_here(address: str) -> bool:
    """Whether `address` is one of this machine."""
    own = {one.address for addresses in psutil.net_if_addrs().values() for one in addresses}
    try:
        found = {str(info[4][0]) for info in socket.getaddrinfo(address, None)}
    except OSError:
        return False
    return bool(found & own) or all(name.startswith("127.") or name == "::1" for name in found)
