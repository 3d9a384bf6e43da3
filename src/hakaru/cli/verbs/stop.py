"""How `hakaru stop` is typed."""

from typing import TYPE_CHECKING

import click

from hakaru.cli.parameters import taking

if TYPE_CHECKING:
    from hakaru.cli.commands.stop import StopOptions


@click.command()
@click.argument("server", metavar="NAME|PORT", required=False)
@click.option("--all", is_flag=True, help="Every server of hakaru's on this machine.")
@taking
def stop(options: "StopOptions") -> int:
    """End a server; answers on their way have the time of its --drain."""
    from hakaru.cli.commands import stop as command

    return command.run(options)
