"""Processes as shell scripts, one for each node. Pure.

The script of a node with one process becomes that process. Another script opens its tunnels, runs
the server, and closes the tunnels when the server ends or Ctrl-C is pressed. `ssh -f` returns once
a tunnel listens, so the server finds its workers; a control socket is what closes it again.
Source: ssh(1), -f, -M and -O.
"""

import shlex
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from hakaru.deploying.bundle import File
from hakaru.deploying.node_process import Process

_CLOSING: Final = """\
tunnels=$(mktemp -d)
close() {
  for tunnel in "$tunnels"/*; do
    if [ -S "$tunnel" ]; then ssh -S "$tunnel" -O exit -- tunnel 2>/dev/null || true; fi
  done
  rm -rf "$tunnels"
}
trap close EXIT
trap 'exit 130' INT TERM"""


def shell_scripts(processes: Sequence[Process], about: str) -> tuple[File, ...]:
    """`NODE.sh` for each node, with the line `about` on top."""
    names = dict.fromkeys(process.node.name for process in processes)
    return tuple(
        File(
            name=f"{name}.sh",
            text=_script(name, [p for p in processes if p.node.name == name], about),
            is_program=True,
        )
        for name in names
    )


def _script(node: str, processes: Sequence[Process], about: str) -> str:
    return "\n".join(
        (
            "#!/bin/sh",
            f"# {about}",
            f"# To be run on {node}; Ctrl-C stops it.",
            "set -eu",
            *_lines(processes),
            "",
        )
    )


def _lines(processes: Sequence[Process]) -> Iterator[str]:
    *tunnels, last = processes
    yield from _exported(last)
    if not tunnels:
        yield f"exec {folded(last.command)}"
        return
    yield _CLOSING
    for tunnel in tunnels:
        ssh, *words = map(shlex.quote, tunnel.command)
        socket = f'"$tunnels"/{shlex.quote(tunnel.name)}'
        yield f"{ssh} -f -M -S {socket} {' '.join(words)}"
    yield folded(last.command)


def _exported(process: Process) -> Iterator[str]:
    for name, value in process.environment.items():
        yield f"export {name}={shlex.quote(value)}"


def folded(command: Iterable[str]) -> str:
    """A command, quoted for the shell, with every option on a line of its own."""
    lines: list[str] = []
    for word in command:
        if word.startswith("-") or not lines:
            lines.append(shlex.quote(word))
        else:
            lines[-1] += f" {shlex.quote(word)}"
    return " \\\n  ".join(lines)
