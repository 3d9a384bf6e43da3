"""What the parents of both kinds of children have in common: how a child is started, and how its
end is told.
"""

import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import psutil

KEPT_LINES: Final = 400
"""Lines of a child's log that its parent keeps."""
GONE_WITHIN_S: Final = 5.0  # from SIGKILL to the end of a process with much memory
LOOK_S: Final = 0.005


def child_command(module: str, *arguments: str) -> list[str]:
    """The command of a child that runs `module` and imports nothing from the folder in which it is
    started (`-P`).
    """
    return [sys.executable, "-P", "-m", module, *arguments]


def server_process(command: Sequence[str], environment: dict[str, str]) -> "subprocess.Popen[str]":
    """The process of a server, with pipes to it."""
    return subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        env=environment,
        # Ctrl-C is for the parent, which then ends this process in order
        start_new_session=True,
    )


def how_it_ended(returncode: int | None) -> str:
    """`signal 9` or `exit 1`."""
    return (
        f"signal {-returncode}"
        if returncode is not None and returncode < 0
        else f"exit {returncode}"
    )


def send(number: int, pid: int) -> None:
    """Send a signal to a process that may be gone already."""
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def end_by_force(pid: int) -> None:
    """Kill a process that is no child of this one, and return when its memory is free."""
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        process.kill()
        until = time.monotonic() + GONE_WITHIN_S
        # its parent may be stopped, and then does not see it end
        while process.status() != psutil.STATUS_ZOMBIE and time.monotonic() < until:
            time.sleep(LOOK_S)


def peak_rss_bytes(pid: int) -> int | None:
    """A process's peak resident memory so far, mapped weights included; None where the system does
    not tell.
    """
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return None
    peak = re.search(r"VmHWM:\s+(\d+) kB", status)
    return int(peak[1]) * 1024 if peak else None
