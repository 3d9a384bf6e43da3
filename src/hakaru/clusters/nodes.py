"""A cluster's file, written from what its machines say of themselves over ssh."""

import json
import platform
import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import tomlkit
from msgspec import Struct

from hakaru import __version__
from hakaru.clusters.ssh import SSH_NAME, hakaru_there, run_there
from hakaru.errors import Misuse, NodeUnready
from hakaru.hardware.machine import Machine
from hakaru.hardware.machine_json import machine_from_json
from hakaru.places import written_whole
from hakaru.pool import impatient_pool

WITHIN_S: Final = 60.0
"""Seconds for a machine to say what it has; it starts Python, and asks its drivers."""


class ProbedNode(Struct, frozen=True, kw_only=True):
    """What one machine said of itself."""

    name: str
    address: str
    told: dict[str, Any]  # what `hakaru hardware --json` prints there
    ssh: str | None = None  # None: this machine
    seen_from: str | None = None  # the address at which this machine came to it; None: unknown

    @property
    def machine(self) -> Machine:
        """The machine."""
        return machine_from_json(self.told)


def probed(hosts: Sequence[str], *, hakaru: str, here: Machine) -> list[ProbedNode]:
    """This machine as the head, and each of `hosts` as ssh reaches it, all at the same time.
    Raises Misuse, and what `run_there` raises.
    """
    for host in hosts:
        if not re.fullmatch(SSH_NAME, host):
            raise Misuse("'{host}' is no machine that ssh knows.", host=host)
    with impatient_pool(max(1, len(hosts))) as pool:
        nodes = list(pool.map(partial(probed_node, hakaru=hakaru), hosts))
    name = _name(platform.node().partition(".")[0] or "head")
    address = next((node.seen_from for node in nodes if node.seen_from), None) or name
    told = {"schema": "hakaru.hardware/1", **here.as_json()}
    every = [ProbedNode(name=name, address=address, told=told), *nodes]
    names = [node.name for node in every]
    if twin := next((one for one in names if names.count(one) > 1), None):
        raise Misuse(
            "two of the machines are called '{name}', this one included; leave one out.", name=twin
        )
    return every


def probed_node(host: str, *, hakaru: str) -> ProbedNode:
    """What `host` says of itself. Raises NodeUnready for another version of hakaru there, and what
    `run_there` raises.
    """
    version, hardware = (hakaru_there(hakaru, *w) for w in (["--version"], ["hardware", "--json"]))
    words = f'{version} && echo "$SSH_CONNECTION" && {hardware}'
    found, connection, told = (*run_there(host, words, within_s=WITHIN_S).split("\n", 2), "")[:3]
    if found.split()[-1:] != [__version__]:
        raise NodeUnready(
            "{host}: hakaru {found} is there, and {expected} here; install the same version.",
            host=host,
            found=found.removeprefix("hakaru ") or "?",
            expected=__version__,
        )
    from_address, _, own_address, *_ = [*connection.split(), *[""] * 4]  # sshd(8)
    plain = host.rpartition("@")[2]
    try:
        machine_from_json(answer := json.loads(told))
    except (Misuse, ValueError) as error:
        raise NodeUnready("{host}: {reason}", host=host, reason=error) from error
    return ProbedNode(
        name=_name(plain),
        address=own_address or plain,
        told=answer,
        ssh=host,
        seen_from=from_address or None,
    )


def _name(host: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]", "-", host).lstrip("-._")[:63] or "node"


def write_cluster(
    nodes: Sequence[ProbedNode], path: Path, *, hakaru: str, overwrite: bool
) -> list[Path]:
    """Write a cluster's file, and the hardware of each node beside it; the files. Raises Misuse
    where one is there already, unless `overwrite`.
    """
    beside = {node.name: path.with_name(f"{node.name}.json") for node in nodes}
    files = [path, *beside.values()]
    if not overwrite and (there := next((file for file in files if file.exists()), None)):
        raise Misuse(
            "{path} is there already; name another file with `output`, or take `overwrite`.",
            path=there,
        )
    document, tables = tomlkit.document(), tomlkit.aot()
    for node in nodes:
        table = tomlkit.table()
        table["name"], table["address"] = node.name, node.address
        table["hardware_file"] = beside[node.name].name
        if node.ssh and node.ssh != node.address:
            table["ssh"] = node.ssh
        if node.ssh and hakaru != "hakaru":
            table["hakaru"] = hakaru
        tables.append(table)
    document["node"] = tables
    for node in nodes:
        with written_whole(beside[node.name]) as part:
            part.write_text(json.dumps(node.told, indent=2) + "\n", encoding="utf-8")
    with written_whole(path) as part:
        part.write_text(tomlkit.dumps(document), encoding="utf-8")
    return files
