"""Processes as services of systemd's, in a folder for each node, for the person who installs them
there (`systemctl --user`). Pure.

A tunnel counts as started once it listens (`ssh -f` returns then), and the server starts after its
tunnels. Each service that ends by itself is started again: a server whose worker was lost ends, and
comes back when the worker does.
Sources: systemd.service(5), systemd.unit(5); ssh(1), -f.
"""

from collections.abc import Iterator, Sequence
from typing import Final

from hakaru.deploying.bundle import File
from hakaru.deploying.node_process import Process
from hakaru.deploying.unit_words import literal, quoted

RESTART_S: Final = 5
STOP_S: Final = 30


def systemd_units(processes: Sequence[Process], about: str) -> tuple[File, ...]:
    """`NODE/hakaru-NAME.service` for each process, with the line `about` on top."""
    return tuple(
        File(
            name=f"{process.node.name}/{_unit(process)}",
            text="\n".join((f"# {about}", *_lines(process, processes), "")),
        )
        for process in processes
    )


def _unit(process: Process) -> str:
    return f"hakaru-{process.name}.service"


def _lines(process: Process, processes: Sequence[Process]) -> Iterator[str]:
    needed = [
        _unit(other)
        for other in processes
        if other.role == "tunnel"
        and process.role == "server"
        and (other.node, other.replica) == (process.node, process.replica)
    ]
    yield "[Unit]"
    yield f"Description=hakaru: {process.name} on {process.node.name}"
    if needed:
        yield f"Wants={' '.join(needed)}"
        yield f"After={' '.join(needed)}"
    yield "StartLimitIntervalSec=0"
    yield ""
    yield "[Service]"
    yield from _started(process)
    yield "Restart=always"
    yield f"RestartSec={RESTART_S}"
    yield f"TimeoutStopSec={STOP_S}"
    yield "NoNewPrivileges=true"
    yield "LimitCORE=0"
    yield ""
    yield "[Install]"
    yield "WantedBy=default.target"


def _started(process: Process) -> Iterator[str]:
    program, *words = process.command
    if process.role == "tunnel":
        words.insert(0, "-f")
    yield f"Type={'forking' if process.role == 'tunnel' else 'exec'}"
    for name, value in process.environment.items():
        yield f'Environment="{name}={_in_quotes(value)}"'
    yield f"ExecStart={' '.join(map(quoted, (program, *words)))}"


def _in_quotes(value: str) -> str:
    """A value of a variable, in which `$` is no sign: systemd.exec(5), Environment."""
    return literal(value).replace("$$", "$").replace("\\", "\\\\").replace('"', '\\"')
