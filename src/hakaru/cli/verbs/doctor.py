"""How `hakaru doctor` is typed."""

from typing import TYPE_CHECKING

import click

from hakaru.cli.parameters import json_option, taking

if TYPE_CHECKING:
    from hakaru.cli.commands.doctor import DoctorOptions


@click.command()
@json_option
@taking
def doctor(options: "DoctorOptions") -> int:
    """How wrong were we here? Engines, ledger, errors by architecture, the margin."""
    from hakaru.cli.commands import doctor as command

    return command.run(options)
