"""How `hakaru conform` is typed."""

from typing import TYPE_CHECKING

import click

from hakaru.cli.parameters import json_option, taking

if TYPE_CHECKING:
    from hakaru.cli.commands.conform import ConformOptions


@click.command()
@click.argument("url", metavar="URL")
@click.option("--key", metavar="KEY", help="The key that the server asks for.")
@click.option(
    "--model", metavar="NAME", help="The model to ask.  [default: the first that it lists]"
)
@click.option(
    "--timeout",
    type=float,
    default=30.0,
    show_default=True,
    metavar="SECONDS",
    help="The longest wait for one answer.",
)
@click.option(
    "--only",
    metavar="NAME",
    multiple=True,
    help="Only these checks: an area such as errors, or one such as chat.stop. May be repeated.",
)
@json_option
@taking
def conform(options: "ConformOptions") -> int:
    """What any OpenAI-style server does wrong."""
    from hakaru.cli.commands import conform as command

    return command.run(options)
