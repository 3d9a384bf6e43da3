"""How `hakaru logs` is typed."""

from typing import TYPE_CHECKING

import click

from hakaru.cli.parameters import taking

if TYPE_CHECKING:
    from hakaru.cli.commands.logs import LogsOptions


@click.command()
@click.argument("server", metavar="NAME|PORT")
@click.option(
    "--lines", "-n", type=click.IntRange(0), default=100, show_default=True, help="How many."
)
@click.option("--follow", "-f", is_flag=True, help="Also those that come, until Ctrl-C.")
@taking
def logs(options: "LogsOptions") -> int:
    """Show the last lines of a server and its engine; no prompt is in them."""
    from hakaru.cli.commands import logs as command

    return command.run(options)
