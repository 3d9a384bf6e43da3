"""How `hakaru show` is typed."""

from typing import TYPE_CHECKING

import click

from hakaru.cli.parameters import json_option, model_argument, taking

if TYPE_CHECKING:
    from hakaru.cli.commands.show import ShowOptions


@click.command()
@model_argument
@json_option
@taking
def show(options: "ShowOptions") -> int:
    """What is known about a model, before it is downloaded."""
    from hakaru.cli.commands import show as command

    return command.run(options)
