"""How `hakaru privacy-check` is typed."""

from typing import TYPE_CHECKING

import click

from hakaru.cli.parameters import json_option, taking

if TYPE_CHECKING:
    from hakaru.cli.commands.privacy_check import PrivacyCheckOptions


@click.command()
@json_option
@taking
def privacy_check(options: "PrivacyCheckOptions") -> int:
    """Try to leak, from the engine's place and from hakaru's commands, and show what stopped it."""
    from hakaru.cli.commands import privacy_check as command

    return command.run(options)
