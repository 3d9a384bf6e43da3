"""`cluster.toml`: the nodes of a cluster and the links between them, as a person writes them.

    [[node]]                                # the first is the head: the server runs there
    name = "desk"
    address = "192.168.1.20"
    hardware = "RTX 3090 + 64GiB RAM"       # as `hakaru fit --hardware` reads it

    [[node]]
    name = "attic"
    address = "192.168.1.21"
    hardware_file = "attic.json"            # what `hakaru hardware --json` printed there
    ssh = "me@attic"                        # what ssh calls it; left out, its address
    hakaru = "~/hakaru/.venv/bin/hakaru"    # the command there; left out, `hakaru`
    port = 50052                            # at which its worker listens; left out, this one

    [[node]]                                # sixteen equal machines
    count = 16
    name = "rack[01-16]"                    # rack01 to rack16
    address = "10.0.0.[101-116]"
    hardware = "2x L4 + 128GiB RAM"

    [network]                               # between all nodes; left out, it is not known
    gbit_per_s = 1
    ping_ms = 0.3

    [[link]]                                # between two of them
    between = ["desk", "attic"]
    gbit_per_s = 10
    ping_ms = 0.1

`file_schema` describes it as JSON Schema.
"""

import json
import re
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Struct

from hakaru.clusters.cluster import RPC_PORT, Cluster, Link, Node
from hakaru.clusters.file_faults import Where, fault
from hakaru.clusters.name_ranges import RANGE, n_names, names_in
from hakaru.clusters.ssh import END, SSH_NAME
from hakaru.errors import Misuse
from hakaru.hardware.machine import Hardware, hardware_of
from hakaru.hardware.machine_json import machine_from_json
from hakaru.hardware.named_machine import parse_hardware
from hakaru.language import say
from hakaru.text_files import decoded

SCHEMA: Final = "hakaru.cluster/1"
MOST_NODES: Final = 1_000

_NAME: Final = rf"^[A-Za-z0-9](([A-Za-z0-9._-]|{RANGE})*([A-Za-z0-9]|{RANGE}))?"
"""Kubernetes chooses a node by such a name: a label's value, which ends as it begins."""
_ADDRESS: Final = rf"^[A-Za-z0-9:]([A-Za-z0-9._:%-]|{RANGE})*"
_Name = Annotated[str, Meta(pattern=_NAME + END, max_length=63)]
_Address = Annotated[str, Meta(pattern=_ADDRESS + END, max_length=253)]


class _Node(Struct, frozen=True, forbid_unknown_fields=True):
    """A machine, or `count` equal ones, with a range in their names (`clusters.name_ranges`)."""

    name: _Name
    address: _Address
    count: Annotated[int, Meta(ge=1, le=MOST_NODES)] = 1
    hardware: str | None = None
    hardware_file: str | None = None
    port: Annotated[int, Meta(ge=1, le=65_535)] = RPC_PORT
    ssh: Annotated[str, Meta(pattern=SSH_NAME)] | None = None
    hakaru: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_./~-]+" + END)] = "hakaru"


class _LinkBetween(Link, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The link of two nodes."""

    between: tuple[str, str]


class _File(Struct, frozen=True, forbid_unknown_fields=True):
    """A cluster."""

    node: Annotated[tuple[_Node, ...], Meta(min_length=1, max_length=MOST_NODES)]
    network: Link | None = None
    link: tuple[_LinkBetween, ...] = ()


_TABLES: Final[dict[str, type[Struct]]] = {
    "": _File,
    "node": _Node,
    "network": Link,
    "link": _LinkBetween,
}


def file_schema() -> dict[str, Any]:
    """The JSON Schema of a cluster file."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": SCHEMA} | (
        msgspec.json.schema(_File)
    )


def read_cluster(path: Path) -> Cluster:
    """The cluster in the file at `path`. Raises Misuse, with the line."""
    return _Reader(path, decoded(path)).cluster()


class _Reader:
    """One file that is read."""

    def __init__(self, path: Path, text: str) -> None:
        self._path, self._text = path, text

    def cluster(self) -> Cluster:
        """What it says. Raises Misuse."""
        file = self._file()
        if (n := sum(table.count for table in file.node)) > MOST_NODES:
            reason = say("expected at most {most} nodes, got {n}", most=MOST_NODES, n=n)
            raise self._wrong(("node", len(file.node) - 1), reason)
        tables = [self._nodes(i, table) for i, table in enumerate(file.node)]
        self._refuse_twins("name", [[node.name for node in nodes] for nodes in tables])
        self._refuse_twins("address", [[node.address for node in nodes] for nodes in tables])
        nodes = tuple(node for nodes in tables for node in nodes)
        links = dict(self._links(file, {node.name for node in nodes}))
        return Cluster(nodes=nodes, network=file.network, links=links)

    def _file(self) -> _File:
        try:
            values = tomllib.loads(self._text)
        except tomllib.TOMLDecodeError as error:
            raise Misuse("{path}: no TOML: {reason}.", path=self._path, reason=error) from error
        try:
            return msgspec.convert(values, _File)
        except msgspec.ValidationError as error:
            raise self._wrong(*fault(error, values, _TABLES)) from error

    def _nodes(self, i: int, table: _Node) -> list[Node]:
        """The machines of one table."""
        hardware, n_threads = self._hardware(i, table)
        names = self._names(i, "name", table.name, table.count)
        addresses = self._names(i, "address", table.address, table.count)
        ssh = self._names(i, "ssh", table.ssh, table.count) if table.ssh else [None] * table.count
        return [
            Node(
                name=name,
                address=address,
                hardware=hardware,
                port=table.port,
                ssh=host,
                hakaru=table.hakaru,
                n_threads=n_threads,
            )
            for name, address, host in zip(names, addresses, ssh, strict=True)
        ]

    def _names(self, i: int, key: str, text: str, count: int) -> list[str]:
        """The names of all machines of one table."""
        if (n := n_names(text)) != count:
            reason = say(
                "'{text}' names {n} nodes, but 'count' is {count}; sixteen have count = 16 and a "
                "range such as rack[01-16]",
                text=text,
                n=n,
                count=count,
            )
            raise self._wrong(("node", i, key), reason)
        return names_in(text)

    def _hardware(self, i: int, node: _Node) -> tuple[Hardware, int | None]:
        """What the node has, and with how many threads llama.cpp computes there, where it told."""
        if (node.hardware is None) == (node.hardware_file is None):
            raise self._wrong(("node", i), say("expected one of 'hardware' and 'hardware_file'"))
        if node.hardware is not None:
            try:
                return parse_hardware(node.hardware), None
            except Misuse as error:
                raise self._wrong(("node", i, "hardware"), str(error)) from error
        assert node.hardware_file is not None
        path = self._path.parent / node.hardware_file
        try:
            machine = machine_from_json(json.loads(decoded(path)))
        except (Misuse, ValueError) as error:
            where = "node", i, "hardware_file"
            raise self._wrong(where, str(error)) from error
        return hardware_of(machine, uses_gpu=machine.has_gpu), machine.cpu.threads

    def _links(self, file: _File, names: set[str]) -> Iterator[tuple[frozenset[str], Link]]:
        seen = set[frozenset[str]]()
        for i, link in enumerate(file.link):
            where = "link", i, "between"
            if strangers := sorted({*link.between} - names):
                raise self._wrong(where, say("no node is called '{name}'", name=strangers[0]))
            if (pair := frozenset(link.between)) in seen or len(pair) == 1:
                raise self._wrong(where, say("expected two nodes that no other link joins"))
            seen.add(pair)
            yield pair, link

    def _refuse_twins(self, key: str, tables: Iterable[Iterable[str]]) -> None:
        """Raises Misuse where two nodes have the same value of `key`, which stand by tables."""
        seen = set[str]()
        for i, values in enumerate(tables):
            for value in values:
                if value in seen:
                    reason = say("two nodes have the {key} '{value}'", key=key, value=value)
                    raise self._wrong(("node", i, key), reason)
                seen.add(value)

    def _wrong(self, where: Where, reason: str) -> Misuse:
        return Misuse(
            "{path}, line {line}: {reason}.",
            path=self._path,
            line=line_of(self._text, where),
            reason=reason.rstrip(".。"),
        )


def line_of(text: str, where: Where) -> int:
    """The line of a TOML text, from 1, in which the value at `where` stands; that of its table
    where the value does not stand there, and else 1.
    """
    table, *rest = where or ("",)
    index = rest.pop(0) if rest and isinstance(rest[0], int) else 0
    key, found, is_inside, n_seen = rest[0] if rest else None, 1, False, 0
    for number, line in enumerate(text.splitlines(), 1):
        if header := re.match(r"\s*\[\[?\s*([\w-]+)\s*\]", line):
            is_inside = header[1] == table and n_seen == index
            n_seen += header[1] == table
            if is_inside:
                found = number
        elif (written := re.match(r"""\s*["']?([\w-]+)["']?\s*=""", line)) and (
            (is_inside and written[1] == key) or (found == 1 and written[1] == table)
        ):
            return number
    return found
