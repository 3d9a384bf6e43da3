"""Two machines that a test makes: network namespaces, each with an address of its own that is
reached over a pair of virtual cards. `ssh n0 …` runs a line in the first, `ssh n1 …` in the second.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from ssh_stand_in import in_path, program

SSH = """#!/bin/sh
# ssh into a network namespace: options, then --, its name, and a line for its shell.
while [ "$1" != -- ]; do shift; done
exec ip netns exec {prefix}"$2" sh -c "$3"
"""


@contextmanager
def two_machines(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The addresses of both, with this machine's own first. Skips where none may be made."""
    prefix, number = f"hakaru-{os.getpid()}-", os.getpid() % 250
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("network namespaces need root and iproute2")
    try:
        addresses = [f"10.77.{number}.1"]
        ip("link", "add", bridge := f"hkbr{number}", "type", "bridge")
        ip("addr", "add", f"{addresses[0]}/24", "dev", bridge)
        ip("link", "set", bridge, "up")
        for i in range(2):
            name, card = f"{prefix}n{i}", f"hk{number}n{i}"
            addresses.append(f"10.77.{number}.{i + 2}")
            ip("netns", "add", name)
            ip("link", "add", card, "type", "veth", "peer", "name", "eth0", "netns", name)
            ip("link", "set", card, "master", bridge, "up")
            ip("-n", name, "addr", "add", f"{addresses[-1]}/24", "dev", "eth0")
            ip("-n", name, "link", "set", "eth0", "up")
            ip("-n", name, "link", "set", "lo", "up")
    except subprocess.CalledProcessError as error:
        remove(prefix, number)
        pytest.skip(f"no network namespaces may be made here: {error.stderr.strip()}")
    program(folder, "ssh", SSH.format(prefix=prefix))
    in_path(folder, monkeypatch)
    try:
        yield addresses
    finally:
        remove(prefix, number)


def ip(*words: str) -> None:
    """`ip`, of iproute2."""
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


def remove(prefix: str, number: int) -> None:
    """Take away what was made."""
    for i in range(2):
        with suppress(subprocess.CalledProcessError):
            ip("netns", "del", f"{prefix}n{i}")
    with suppress(subprocess.CalledProcessError):
        ip("link", "del", f"hkbr{number}")
