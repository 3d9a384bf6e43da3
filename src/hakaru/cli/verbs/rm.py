"""How `hakaru rm` is typed."""

from typing import TYPE_CHECKING

import click

from hakaru.cli.parameters import dry_run_option, json_option, taking

if TYPE_CHECKING:
    from hakaru.cli.commands.rm import RmOptions


@click.command()
@click.argument("name", metavar="NAME")
@click.option("--yes", is_flag=True, help="Do not ask.")
@dry_run_option
@json_option
@taking
def rm(options: "RmOptions") -> int:
    """Remove a model from this disk, after saying what else uses it."""
    from hakaru.cli.commands import rm as command

    return command.run(options)
