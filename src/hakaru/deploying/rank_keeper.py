"""Keeps one program on a node until stdin ends: its text is the argument of `python3 -c` there.

vLLM leaves ranks and helpers running when one of them dies, and what is killed leaves its shared
memory in /dev/shm. So the program gets a session of its own (setsid(2)), all of which is ended, and
then the files that came meanwhile and that nobody has open are removed. stdin ends with whoever
started this, however that ends. Nothing but the standard library: a node needs no hakaru.

`keep JSON`: run the `command` of the object with its `environment`. `end PID`: end what is left of
the session PID.
"""

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

LOOK_S: Final = 0.1
ENDS_WITHIN_S: Final = 15.0
"""From SIGTERM to SIGKILL. vLLM 0.32 itself gives its workers 9 seconds."""
ALONE_S: Final = 1.0
"""What is left of them once the leader, which ends them in order, has ended."""
KILLED_WITHIN_S: Final = 5.0
NO_PROGRAM: Final = 127  # as sh(1) has it
SHARED: Final = Path("/dev/shm")
KINDS: Final = ("psm_", "vllm_dist_", "sem.mp-")
"""How names begin that Python and vLLM give. Source: multiprocessing's shared_memory.py and
synchronize.py; what vLLM 0.32 left there."""


def main(verb: str, argument: str) -> int:
    """The exit status: the program's own, 0 if it was ended."""
    if verb == "keep":
        told = json.loads(argument)
        return keep(told["command"], told["environment"])
    end(int(argument))
    return 0


def keep(command: list[str], environment: dict[str, str]) -> int:
    """Run `command` until it ends, stdin ends or a signal comes."""
    signals = list[int]()
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, lambda number, frame: signals.append(number))
    before = shared_files()
    try:
        process = subprocess.Popen(
            command,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except FileNotFoundError:
        return NO_PROGRAM
    tell(f"hakaru-rank {process.pid}")
    while process.poll() is None and not signals:
        if select.select([0], [], [], LOOK_S)[0]:
            break
    code = process.poll()
    if code is not None:
        for pid in members(process.pid):
            tell(f"it left process {pid} behind, which is ended")
    end(process.pid, process)
    for name in shared_files() - before - files_in_use():
        with suppress(OSError):
            (SHARED / name).unlink()
    return 0 if code is None else code if code >= 0 else 128 - code


def tell(line: str) -> None:
    """Print a line, where somebody still reads."""
    with suppress(OSError):
        print(line, flush=True)


def end(session: int, leader: "subprocess.Popen[bytes] | None" = None) -> None:
    """End the session: its leader first, which may end the others in order; tell who stays."""
    for number, within_s in ((signal.SIGTERM, ENDS_WITHIN_S), (signal.SIGKILL, KILLED_WITHIN_S)):
        alive = list(members(session))
        for pid in [session] if number == signal.SIGTERM and session in alive else alive:
            with suppress(ProcessLookupError):
                os.kill(pid, number)
        until = time.monotonic() + within_s
        while (alive := list(members(session))) and time.monotonic() < until:
            if session not in alive:
                until = min(until, time.monotonic() + ALONE_S)
            time.sleep(LOOK_S)
            if leader:
                leader.poll()
    for pid in members(session):
        tell(f"hakaru-left {pid}")


def members(session: int) -> Iterator[int]:
    """The processes of a session, without those that have ended. Source: proc_pid_stat(5)."""
    for pid in processes():
        with suppress(OSError):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            if int(fields[3]) == session and fields[0] != "Z":
                yield pid


def processes() -> list[int]:
    """All that this node shows."""
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def shared_files() -> set[str]:
    """Names in /dev/shm of such kinds, of this user."""
    with suppress(OSError), os.scandir(SHARED) as files:
        return {
            file.name
            for file in files
            if file.name.startswith(KINDS)
            and file.stat(follow_symlinks=False).st_uid == os.getuid()
        }
    return set()


def files_in_use() -> set[str]:
    """Names in /dev/shm that some process has open or mapped."""
    used = set[str]()
    for pid in processes():
        with suppress(OSError):
            maps = Path(f"/proc/{pid}/maps").read_text(errors="replace")
            used |= {Path(line.split()[-1]).name for line in maps.splitlines() if "/shm/" in line}
        with suppress(OSError):
            for file in os.scandir(f"/proc/{pid}/fd"):
                used.add(Path(os.readlink(file.path)).name)
    return used


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
