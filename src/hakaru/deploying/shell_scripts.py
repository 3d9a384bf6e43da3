"""Processes as shell scripts, one for each node. Pure.

The script of a node with one process becomes that process. Another opens its tunnels, starts the
rest, and stops all of it when the last one ends or Ctrl-C is pressed. `ssh -f` returns once a
tunnel listens, so the server finds its workers; a control socket is what closes it again. Its path
is short, since that of a Unix socket has at most 104 bytes, of which TMPDIR may take many.
Sources: ssh(1), -f, -M and -O; sh(1): what is started by `&` hears no Ctrl-C.
"""

import shlex
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from hakaru.deploying.bundle import File
from hakaru.deploying.node_process import Process

_CLOSING: Final = """\
tunnels=$(mktemp -d /tmp/hakaru.XXXXXX)
started=
close() {
  trap - EXIT INT TERM
  [ -z "$started" ] || kill $started 2>/dev/null || true
  wait
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
    if len(processes) == 1:
        yield f"exec {folded(_words(processes[0]))}"
        return
    yield _CLOSING
    for n, process in enumerate(processes, 1):
        if process.role == "tunnel":
            yield _tunnel(process, n)
        else:
            yield f"{folded(_words(process))} &"
            yield 'started="$started $!"'
    is_only_tunnels = all(process.role == "tunnel" for process in processes)
    yield "while sleep 60; do :; done" if is_only_tunnels else "wait $!"


def _tunnel(process: Process, n: int) -> str:
    ssh, *words = map(shlex.quote, process.command)
    return f'{ssh} -f -M -S "$tunnels"/{n} {" ".join(words)}'


def _words(process: Process) -> tuple[str, ...]:
    variables = [f"{name}={value}" for name, value in process.environment.items()]
    return ("env", *variables, *process.command) if variables else process.command


def folded(command: Iterable[str]) -> str:
    """A command, quoted for the shell, with every option on a line of its own."""
    lines: list[str] = []
    for word in command:
        if word.startswith("-") or not lines:
            lines.append(shlex.quote(word))
        else:
            lines[-1] += f" {shlex.quote(word)}"
    return " \\\n  ".join(lines)
