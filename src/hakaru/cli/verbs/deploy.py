"""How `hakaru deploy` is typed."""

from typing import TYPE_CHECKING

import click

from hakaru.cli.number_types import TOKENS
from hakaru.cli.parameters import (
    PATH,
    dry_run_option,
    json_option,
    model_argument,
    taking,
    trust_option,
    type_options,
)

if TYPE_CHECKING:
    from hakaru.cli.commands.deploy import DeployOptions

TARGETS = ("rpc", "systemd")


@click.command()
@model_argument
@click.option("--cluster", type=PATH, required=True, help="The machines, as a TOML file.")
@click.option(
    "--target",
    type=click.Choice(TARGETS),
    required=True,
    help="rpc: a shell script for each node; systemd: the same as services.",
)
@type_options(
    "As this preset: Q4_K_M, IQ4_XS, …",
    "As the usual preset of so many bits: 8 is Q8_0, 4 is Q4_K_M; also 2, 3, 5, 6, 16, 32.",
)
@click.option(
    "--users",
    type=click.IntRange(1),
    default=1,
    metavar="N",
    help="How many ask at the same time.  [default: 1]",
)
@click.option(
    "--context",
    "-c",
    type=TOKENS,
    default=4096,
    show_default=True,
    help="Tokens of context that each of them has.",
)
@click.option(
    "--model-path",
    metavar="PATH",
    help="Where the model lies on the head.  [default: where it lies here]",
)
@click.option(
    "--programs",
    metavar="FOLDER",
    default="",
    help="The engine's programs on every node.  [default: by PATH]",
)
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    default=8601,
    show_default=True,
    help="The server's, on the head's 127.0.0.1.",
)
@trust_option
@click.option(
    "-o", "output", type=PATH, metavar="FOLDER", help="Where to write.  [default: MODEL-TARGET]"
)
@click.option("--overwrite", is_flag=True, help="Replace files that stand there.")
@click.option("--run", is_flag=True, help="Write nothing: start all of it now, until Ctrl-C (rpc).")
@click.option("--restart", is_flag=True, help="Begin again when a worker of the cluster is lost.")
@dry_run_option
@json_option
@taking
def deploy(options: "DeployOptions") -> int:
    """Write what runs a model on several machines. Scripts, units and manifests."""
    from hakaru.cli.commands import deploy as command

    return command.run(options)
