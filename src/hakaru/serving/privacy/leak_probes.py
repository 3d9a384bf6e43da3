"""The program that tries to leak: it is put in the place of the engine, and tells what it could do.

`python leak_probes.py '{"tcp": …}'` prints one JSON object: for each way `[true, what it reached]`,
or `[false, what stopped it]`. It imports nothing of hakaru's, since a cell may not hold that.
"""

import ctypes
import json
import os
import socket
import sys
from collections.abc import Callable
from typing import Any

WITHIN_S = 2.0
PTRACE_SEIZE = 0x4206  # linux/ptrace.h: attach, and do not stop it
BAIT = b"hakaru privacy-check"


def main(bait: dict[str, Any]) -> None:
    """Try every way."""
    ways: dict[str, Callable[[], tuple[bool, str]]] = {
        "interfaces": interfaces,
        "dns": lambda: datagram(socket.AF_INET, bait["nameserver"], 53),
        "tcp": lambda: stream(socket.AF_INET, ("127.0.0.1", bait["tcp"])),
        "tcp6": lambda: stream(socket.AF_INET6, ("::1", bait["tcp6"])),
        "outside": lambda: stream(socket.AF_INET, (bait["outside"], 443)),
        "outside6": lambda: stream(socket.AF_INET6, (bait["outside6"], 443)),
        "udp": lambda: datagram(socket.AF_INET, "127.0.0.1", bait["udp"]),
        "udp6": lambda: datagram(socket.AF_INET6, "::1", bait["udp6"]),
        "abstract": lambda: stream(socket.AF_UNIX, "\0" + bait["abstract"]),
        "socket": lambda: stream(socket.AF_UNIX, bait["socket"]),
        "files": lambda: read(bait["files"]),
        "model": lambda: opened(bait["model"]),
        "write": lambda: written(bait["folders"]),
        "processes": lambda: signalled(bait["pid"]),
        "ptrace": lambda: traced(bait["pid"]),
        "environment": lambda: told(bait["variable"]),
        "privileges": privileges,
    }
    print(json.dumps({name: tried(way) for name, way in ways.items()}))


def tried(way: Callable[[], tuple[bool, str]]) -> list[object]:
    """What came of one way."""
    try:
        reached, how = way()
    except OSError as error:
        return [False, error.strerror or str(error)]
    return [reached, how]


def interfaces() -> tuple[bool, str]:
    """Any but the loopback."""
    names = [name for _, name in socket.if_nameindex()]
    return names != ["lo"] and names != [], ", ".join(names)


def stream(family: int, address: object) -> tuple[bool, str]:
    """A connection, over which something is sent."""
    with socket.socket(family) as sender:
        sender.settimeout(WITHIN_S)
        try:
            sender.connect(address)  # type: ignore[arg-type]
        except TimeoutError:
            return True, "packets leave; nobody answered"
        sender.sendall(BAIT)
        return True, "connected"


def datagram(family: int, host: str, port: int) -> tuple[bool, str]:
    """A packet, to which something may answer."""
    with socket.socket(family, socket.SOCK_DGRAM) as sender:
        sender.settimeout(WITHIN_S)
        sender.connect((host, port))
        sender.send(BAIT)
        try:
            sender.recv(1000)
        except TimeoutError:
            return True, "packets leave; nobody answered"
        return True, "answered"


def read(paths: list[str]) -> tuple[bool, str]:
    """Files outside, and what is in folders outside."""
    seen = []
    for path in paths:
        try:
            if os.path.isdir(path):
                os.listdir(path)
            else:
                with open(path, "rb") as file:
                    file.read(1)
        except OSError:
            continue
        seen.append(path)
    return bool(seen), ", ".join(seen) or f"none of {len(paths)}"


def opened(path: str) -> tuple[bool, str]:
    """The model's file, to be changed."""
    with open(path, "r+b"):
        return True, "opened for writing"


def written(folders: list[str]) -> tuple[bool, str]:
    """A file in any folder."""
    stopped = ""
    for folder in folders:
        path = os.path.join(folder, "hakaru-privacy-check")
        try:
            with open(path, "wb", buffering=0) as file:
                file.write(BAIT)
            os.unlink(path)
        except OSError as error:
            stopped = error.strerror or str(error)
        else:
            return True, path
    return False, stopped


def signalled(pid: int) -> tuple[bool, str]:
    """Another process, seen."""
    os.kill(pid, 0)
    return True, f"process {pid} is seen"


def traced(pid: int) -> tuple[bool, str]:
    """Another process, whose memory can be read."""
    ptrace = ctypes.CDLL(None, use_errno=True).ptrace
    if ptrace(PTRACE_SEIZE, pid, None, None) == 0:
        return True, f"process {pid} is traced"
    raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def told(name: str) -> tuple[bool, str]:
    """A variable of whoever started it."""
    return name in os.environ, f"{len(os.environ)} variables, of {name} nothing"


def privileges() -> tuple[bool, str]:
    """Capabilities, or the way to new ones."""
    with open("/proc/self/status") as file:
        status = dict(line.split(":", 1) for line in file)
    capabilities, locked = status["CapEff"].strip(), status["NoNewPrivs"].strip()
    none = int(capabilities, 16) == 0 and locked == "1"
    return not none, f"CapEff {capabilities}, NoNewPrivs {locked}"


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
