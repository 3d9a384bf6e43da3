"""`hakaru cluster probe | check | worker`: the file of several machines, how fast they reach each
other, and what one lends.
"""

import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import click
from msgspec.structs import asdict

from hakaru.cli.output import next_step, print_json, print_text
from hakaru.cli.paste import pasted
from hakaru.cli.progress import Watching
from hakaru.cli.tell.cluster import print_links, print_nodes
from hakaru.cli.wrapping import whole
from hakaru.clusters.cluster_file import read_cluster
from hakaru.clusters.links import check_head, checked_link, write_links
from hakaru.clusters.nodes import probed, write_cluster
from hakaru.engine.rpc_worker import rpc_worker
from hakaru.errors import Misuse
from hakaru.hardware.probe import probe_machine
from hakaru.language import listed, say
from hakaru.servers import HOST


@dataclass(frozen=True, kw_only=True)
class ClusterProbeOptions:
    """`hakaru cluster probe`."""

    hosts: tuple[str, ...]
    output: Path
    hakaru: str
    overwrite: bool
    yes: bool
    json: bool


@dataclass(frozen=True, kw_only=True)
class ClusterCheckOptions:
    """`hakaru cluster check`."""

    file: Path
    write: bool
    json: bool


@dataclass(frozen=True, kw_only=True)
class ClusterWorkerOptions:
    """`hakaru cluster worker`."""

    host: str | None
    port: int
    trust_network: bool
    json: bool


def probe(options: ClusterProbeOptions) -> int:
    """Ask, run `hakaru hardware --json` on each machine, and write the file. Returns 1 if a person
    says no.
    """
    if not options.yes and not _agreed(options):
        print_text(say("Nothing was run."))
        return 1
    nodes = probed(options.hosts, hakaru=options.hakaru, here=probe_machine())
    files = write_cluster(nodes, options.output, hakaru=options.hakaru, overwrite=options.overwrite)
    if options.json:
        told = [{"name": n.name, "address": n.address, "hardware": n.told} for n in nodes]
        print_json({"schema": "hakaru.probe/1", "files": [str(f) for f in files], "nodes": told})
        return 0
    print_nodes(nodes)
    print_text(say("Written: {files}", files=listed(whole(str(file)) for file in files)))
    next_step(
        pasted("hakaru", "cluster", "check", options.output, "--write"),
        before=say("How fast they reach each other is not known yet."),
    )
    return 0


def _agreed(options: ClusterProbeOptions) -> bool:
    """Whether the person says yes. Raises Misuse where nobody can be asked."""
    command = pasted("hakaru", "cluster", "probe", *options.hosts, "--yes")
    if options.json or not sys.stdin.isatty():
        raise Misuse(
            "nothing was run, since nobody can be asked; to run it: {command}", command=command
        )
    print_text(
        say(
            "On {hosts} this is run over ssh, and nothing else: {command}",
            hosts=listed(options.hosts),
            command=whole(f"{options.hakaru} hardware --json"),
        )
    )
    return click.confirm(say("Go on?"), err=True)


def check(options: ClusterCheckOptions) -> int:
    """Measure every link of the head. Returns the exit code of the first worker that was not
    reached.
    """
    cluster = read_cluster(options.file)
    check_head(cluster, options.file)
    found = []
    with Watching(quiet=options.json) as watch:
        for i, node in enumerate(cluster.workers):
            watch(say("links measured"), i, len(cluster.workers))
            found.append(checked_link(node))
    if options.write:
        write_links(options.file, cluster, found)
    if options.json:
        print_json({"schema": "hakaru.links/1", "links": [one.as_json() for one in found]})
    else:
        print_links(found)
        if options.write:
            print_text(say("Written: {files}", files=whole(str(options.file))))
        else:
            next_step(pasted("hakaru", "cluster", "check", options.file, "--write"))
    return next((one.trouble.exit_code for one in found if one.trouble), 0)


def worker(options: ClusterWorkerOptions) -> int:
    """Lend until Ctrl-C, or with `json` until stdin ends."""
    host = options.host or HOST
    if host not in {HOST, "::1", "localhost"} and not options.trust_network:
        raise Misuse(
            "`host` {host}: whoever reaches a worker may use this machine's memory and see what is "
            "computed, and nothing is encrypted; leave `host` out and let ssh lead to it, or say "
            "`trust_network`.",
            host=host,
        )
    with rpc_worker(host, options.port) as lent, suppress(KeyboardInterrupt):
        if options.json:
            print_json({"schema": "hakaru.worker/1", **asdict(lent.facts)})
            sys.stdout.flush()
            lent.wait(sys.stdin.buffer)
            return 0
        print_text(
            say(
                "This machine lends its devices at {host}:{port}  (Ctrl-C stops it)",
                host=host,
                port=options.port,
            )
        )
        lent.wait()
    print_text(say("Stopped."))
    return 0
