"""How `hakaru choose` is typed."""

from typing import TYPE_CHECKING

import click

from hakaru.cli.number_types import DURATION, RATE, TOKENS
from hakaru.cli.parameters import (
    PATH,
    hardware_option,
    json_option,
    memory_option,
    ray_option,
    taking,
)

if TYPE_CHECKING:
    from hakaru.cli.commands.choose import ChooseOptions


@click.command()
@click.option(
    "--task",
    default="chat",
    show_default=True,
    metavar="TASK",
    help="chat, code, reasoning, rag (documents), vision, embedding or tool-use.",
)
@click.option(
    "--language", metavar="en|ja", help="Language in which it works.  [default: that of this text]"
)
@hardware_option
@memory_option
@click.option(
    "--context", type=TOKENS, help="Tokens of context of one user.  [default: what the task needs]"
)
@click.option("--users", type=int, metavar="N", help="How many ask at the same time.  [default: 1]")
@click.option(
    "--min-speed",
    type=RATE,
    metavar="N",
    help="Tokens per second that every row must reach, by prediction.",
)
@click.option(
    "--first-token",
    type=DURATION,
    metavar="TIME",
    help="Every row must begin to answer within this time: 2s.",
)
@click.option("--prompt-tokens", type=TOKENS, metavar="N", help="Tokens that are read at once.")
@click.option("--answer-tokens", type=TOKENS, metavar="N", help="Tokens that are written.")
@click.option(
    "--license",
    default="any",
    show_default=True,
    metavar="any|open",
    help="open: anybody may use the model for anything.",
)
@click.option(
    "--model", metavar="NAME", help="The types of this model alone (hakaru ls --catalog)."
)
@click.option(
    "--for-hardware",
    metavar="any",
    help="Which accelerators would run it; --model may also be small, medium, large or a task.",
)
@click.option("--top", type=int, default=10, show_default=True, metavar="N", help="Rows to show.")
@click.option(
    "--race",
    is_flag=True,
    help="Fetch the two or three best rows, and take the one that does best here, by tasks.",
)
@click.option(
    "--tasks",
    metavar="ours|humaneval|FILE",
    multiple=True,
    help="What --race asks.  [default: those of ours that speak for the task]",
)
@ray_option
@click.option("--yes", is_flag=True, help="Do not ask before --race fetches models.")
@click.option(
    "--electricity", metavar="PRICE", help="Of a kWh, such as '31 JPY': what a million tokens cost."
)
@click.option(
    "--watts",
    type=click.FloatRange(min=0, min_open=True),
    metavar="N",
    help="What the machine draws while it answers.  [default: measured, else published]",
)
@click.option("--cloud", metavar="PRICE", help="Of a million tokens elsewhere, to compare with.")
@click.option("--price", metavar="PRICE", help="Of the machine: after how long it has paid off.")
@click.option(
    "--tokens-per-day", type=TOKENS, help="Of all answers.  [default: as many as it writes]"
)
@click.option("--explain", is_flag=True, help="Also where every figure comes from.")
@click.option(
    "--plot",
    type=PATH,
    metavar="FILE.svg|png",
    help="Also draw the rows: score against speed, with memory and intervals.",
)
@json_option
@taking
def choose(options: "ChooseOptions") -> int:
    """Which model for a task on this machine, or on one to buy."""
    from hakaru.cli.commands import choose as command

    return command.run(options)
