"""How fast the head and its workers reach each other, measured through ssh.

One session each: bytes that come back one by one give the round trip, and a stream that is counted
at the other end gives the bandwidth, from the head to the worker, which is the way that weights go.
A tunnel carries exactly this, encryption included; without ssh a fast network may carry more.
"""

import subprocess
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from threading import Timer
from typing import IO, Any, Final

import msgspec
import tomlkit
from msgspec import Struct

from hakaru.clusters.cluster import Cluster, Link, Node
from hakaru.clusters.ssh import failed_there, host_of, is_here, no_ssh, ssh_command
from hakaru.errors import Misuse, NodeError
from hakaru.places import written_whole
from hakaru.text_files import decoded

PINGS: Final = 21  # the first of them waits for the session
STREAM_S: Final = 2.0
CHUNK: Final = bytes(2**16)
WITHIN_S: Final = 60.0
_THERE: Final = f"dd bs=1 count={PINGS} 2>/dev/null; wc -c"
"""POSIX: one byte for one byte, so many times; then how many came until the end."""


class CheckedLink(Struct, frozen=True, kw_only=True):
    """How fast the head reaches one worker."""

    node: Node
    link: Link | None = None  # None: it is this machine, or not reached
    trouble: NodeError | None = None

    def as_json(self) -> dict[str, object]:
        """A worker of `hakaru cluster check --json`."""
        return {
            "name": self.node.name,
            "address": self.node.address,
            "gbit_per_s": self.link.gbit_per_s if self.link else None,
            "ping_ms": self.link.ping_ms if self.link else None,
            "source": self.link.source if self.link else None,
            "trouble": str(self.trouble) if self.trouble else None,
        }


def check_head(cluster: Cluster, path: Path) -> None:
    """Raises Misuse where the head is another machine than this one."""
    if not is_here(cluster.head.address):
        raise Misuse(
            "{path}: the head is {name}, at {address}, which is not this machine; type this there.",
            path=path,
            name=cluster.head.name,
            address=cluster.head.address,
        )


def checked_link(node: Node) -> CheckedLink:
    """How fast this machine, the head, reaches `node`."""
    if is_here(node.address):
        return CheckedLink(node=node)
    try:
        return CheckedLink(node=node, link=measured_link(host_of(node)))
    except NodeError as error:
        return CheckedLink(node=node, trouble=error)


def measured_link(host: str) -> Link:
    """The link to `host`. Raises NodeError."""
    try:
        process = subprocess.Popen(
            ssh_command(host, _THERE),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
        )
    except FileNotFoundError as error:
        raise no_ssh() from error
    timer = Timer(WITHIN_S, process.kill)
    timer.start()
    try:
        with process:
            assert process.stdin and process.stdout and process.stderr
            try:
                ping_s = _round_trip(process.stdin, process.stdout)
                bytes_per_s = _stream(process.stdin, process.stdout, ping_s)
            except (BrokenPipeError, ValueError) as error:
                process.kill()
                said = process.stderr.read().decode(errors="replace")
                raise failed_there(host, process.wait(), said, _THERE) from error
    finally:
        timer.cancel()
    today = datetime.now(UTC).date().isoformat()
    return Link(
        gbit_per_s=float(f"{8 * bytes_per_s / 1e9:.3g}"),
        ping_ms=float(f"{1000 * ping_s:.3g}"),
        source=f"measured through ssh, {today}",
    )


def _round_trip(there: IO[bytes], back: IO[bytes]) -> float:
    """Seconds for a byte there and back, the median of many."""
    times = []
    for _ in range(PINGS):
        began = time.perf_counter()
        there.write(b"0")
        if not back.read(1):
            raise ValueError
        times.append(time.perf_counter() - began)
    return median(times[1:])


def _stream(there: IO[bytes], back: IO[bytes], ping_s: float) -> float:
    """Bytes per second of a stream of at least STREAM_S, until all of it has come."""
    began, n_sent = time.perf_counter(), 0
    while time.perf_counter() - began < STREAM_S:
        n_sent += there.write(CHUNK)
    there.close()
    if int(back.read()) != n_sent:
        raise ValueError
    return n_sent / (time.perf_counter() - began - ping_s)


def write_links(path: Path, cluster: Cluster, found: Iterable[CheckedLink]) -> None:
    """Write what was measured into the cluster's file, all else of which stays as it is."""
    document = tomlkit.parse(decoded(path))
    if "link" not in document:
        document["link"] = tomlkit.aot()
    tables: Any = document["link"]
    by_pair = {frozenset(table["between"]): table for table in tables}
    for one in found:
        if one.link is None:
            continue
        pair = [cluster.head.name, one.node.name]
        if (table := by_pair.get(frozenset(pair))) is None:
            table = tomlkit.table()
            table["between"] = pair
            tables.append(table)
            table = tables[-1]
        table.update(msgspec.to_builtins(one.link))
    with written_whole(path) as part:
        part.write_text(tomlkit.dumps(document), encoding="utf-8")
