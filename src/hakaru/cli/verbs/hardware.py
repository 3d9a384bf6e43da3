"""How `hakaru hardware` is typed."""

from typing import TYPE_CHECKING

import click

from hakaru.cli.parameters import json_option, taking

if TYPE_CHECKING:
    from hakaru.cli.commands.hardware import HardwareOptions


@click.command()
@json_option
@taking
def hardware(options: "HardwareOptions") -> int:
    """Show this machine: devices, memory, processor, size class."""
    from hakaru.cli.commands import hardware as command

    return command.run(options)
