"""What `hakaru cluster probe | check` says."""

from collections.abc import Sequence

from hakaru.cli.output import print_text, show_table, warn
from hakaru.cli.paste import pasted
from hakaru.cli.table import Column, Table
from hakaru.cli.wrapping import whole
from hakaru.clusters.links import CheckedLink
from hakaru.clusters.nodes import ProbedNode
from hakaru.hardware.machine import Machine
from hakaru.language import listed, say
from hakaru.serving.serve_cluster import Start
from hakaru.units import format_bytes


def print_nodes(nodes: Sequence[ProbedNode]) -> None:
    """One row for each machine, the head first."""
    columns = [
        Column(say("node"), left=True),
        Column(say("address"), left=True),
        Column(say("what it has"), left=True, below=1),
    ]
    rows = [[node.name, node.address, _has(node.machine)] for node in nodes]
    show_table(Table(columns, rows))
    print_text(
        say(
            "The server runs on {head}, this machine; the others lend it theirs.",
            head=nodes[0].name,
        )
    )


def _has(machine: Machine) -> str:
    devices = [f"{d.name} {format_bytes(d.total_bytes)}" for d in machine.accelerators]
    return listed([*devices, f"{format_bytes(machine.memory.total_bytes)} RAM"])


def print_starts(workers: Sequence[Start], server: Start) -> None:
    """Each worker with the weights that travel to it, and then the server."""
    for one in workers:
        print_text(
            say(
                "For {node}, which gets {bytes}: {command}",
                node=one.node,
                bytes=format_bytes(one.weights_bytes),
                command=whole(pasted(*one.command)),
            )
        )
    command = whole(pasted(*server.command))
    print_text(say("On {node}: {command}", node=server.node, command=command))


def print_links(links: Sequence[CheckedLink]) -> None:
    """One row for each worker, and below the table why one was not reached."""
    columns = [
        Column(say("worker"), left=True),
        Column(say("round trip")),
        Column(say("bandwidth")),
        Column(say("where from"), left=True, below=1),
    ]
    show_table(Table(columns, [_row(one) for one in links]))
    for one in links:
        if one.trouble:
            warn(str(one.trouble))


def _row(one: CheckedLink) -> list[str]:
    if link := one.link:
        speeds = [f"{link.ping_ms:g} ms", f"{link.gbit_per_s:g} Gbit/s"]
        return [one.node.name, *speeds, link.source or "-"]
    reason = say("not reached") if one.trouble else say("this machine")
    return [one.node.name, "-", "-", reason]
