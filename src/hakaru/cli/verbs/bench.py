"""How `hakaru bench` is typed."""

from typing import TYPE_CHECKING

import click

from hakaru.cli.number_types import TOKENS
from hakaru.cli.parameters import json_option, optional_model, taking

if TYPE_CHECKING:
    from hakaru.cli.commands.bench import BenchOptions


@click.command()
@optional_model
@click.option(
    "--depth",
    type=TOKENS,
    default=0,
    show_default=True,
    help="Decode behind so many tokens of context.",
)
@click.option(
    "--calibrate",
    is_flag=True,
    help="Time this machine with models of zeros (a minute), so that speeds are predicted for it.",
)
@json_option
@taking
def bench(options: "BenchOptions") -> int:
    """How fast a model is here, beside what was predicted."""
    from hakaru.cli.commands import bench as command

    return command.run(options)
