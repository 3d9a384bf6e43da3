"""How `hakaru ps` is typed."""

from typing import TYPE_CHECKING

import click

from hakaru.cli.parameters import json_option, taking

if TYPE_CHECKING:
    from hakaru.cli.commands.ps import PsOptions


@click.command()
@json_option
@taking
def ps(options: "PsOptions") -> int:
    """List the servers that run here, and the memory that each holds."""
    from hakaru.cli.commands import ps as command

    return command.run(options)
