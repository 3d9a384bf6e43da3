"""How `hakaru cluster` is typed."""

from typing import TYPE_CHECKING

import click

from hakaru.cli.parameters import PATH, json_option, taking, trust_option

if TYPE_CHECKING:
    from hakaru.cli.commands.cluster import (
        ClusterCheckOptions,
        ClusterProbeOptions,
        ClusterWorkerOptions,
    )


@click.group()
def cluster() -> None:
    """Several machines. Describe them in a file, measure the links between them."""


@cluster.command(
    "probe",
    epilog="On each HOST hakaru hardware --json is run, after you were asked; nothing else is "
    "started there, and nothing stays.",
)
@click.argument("hosts", metavar="HOST...", nargs=-1, required=True)
@click.option(
    "-o",
    "output",
    type=PATH,
    default="cluster.toml",
    show_default="cluster.toml",
    metavar="FILE",
    help="The file to write.",
)
@click.option(
    "--hakaru",
    default="hakaru",
    show_default=True,
    metavar="COMMAND",
    help="How hakaru is called there: its path, where no shell finds it.",
)
@click.option("--overwrite", is_flag=True, help="Write over a file that is there.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
@taking
def cluster_probe(options: "ClusterProbeOptions") -> int:
    """Write a cluster's file: this machine, and each HOST as your own ssh reaches it."""
    from hakaru.cli.commands import cluster as command

    return command.probe(options)


@cluster.command("check")
@click.argument("file", metavar="FILE", type=PATH)
@click.option("--write", is_flag=True, help="Write what was measured into FILE, for hakaru fit.")
@json_option
@taking
def cluster_check(options: "ClusterCheckOptions") -> int:
    """Measure round trip and bandwidth from this machine, the head, to each worker, through ssh."""
    from hakaru.cli.commands import cluster as command

    return command.check(options)


@cluster.command("worker")
@click.option("--host", metavar="ADDRESS", help="Where it listens.  [default: 127.0.0.1]")
@click.option(
    "--port",
    type=click.IntRange(1, 65_535),
    default=50_052,
    show_default=True,
    help="Where it listens.",
)
@trust_option
@click.option("--json", is_flag=True, help="Print one JSON object, and end when stdin does.")
@taking
def cluster_worker(options: "ClusterWorkerOptions") -> int:
    """Lend this machine's devices to a head until Ctrl-C; serve --cluster does this by itself."""
    from hakaru.cli.commands import cluster as command

    return command.worker(options)
