"""How `hakaru formula` is typed."""

from typing import TYPE_CHECKING

import click

from hakaru.cli.number_types import BITS, TOKENS
from hakaru.cli.parameters import json_option, taking

if TYPE_CHECKING:
    from hakaru.cli.commands.formula import FormulaOptions


@click.command()
@click.option(
    "--params", required=True, metavar="N", help="Parameters, such as 70B, 135M, 30B-A3B or 8x7B."
)
@click.option(
    "--bits",
    required=True,
    type=BITS,
    metavar="N",
    help="Bits per weight, such as 16, 8, 4.5 or 4.",
)
@click.option("--hardware", metavar="DEVICES", help="Devices, such as '2x A100 80GB'.")
@click.option(
    "--context",
    type=TOKENS,
    default=4096,
    show_default=True,
    help="Tokens of context for the exact answer; 8k is 8192.",
)
@json_option
@taking
def formula(options: "FormulaOptions") -> int:
    """The article's rule of thumb for memory, corrected."""
    from hakaru.cli.commands import formula as command

    return command.run(options)
