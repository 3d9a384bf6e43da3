"""How `hakaru trust` is typed."""

from typing import TYPE_CHECKING

import click

from hakaru.cli.parameters import json_option, optional_model, taking

if TYPE_CHECKING:
    from hakaru.cli.commands.trust import TrustOptions


@click.command(epilog="Without MODEL it lists what is trusted.")
@optional_model
@json_option
@taking
def trust(options: "TrustOptions") -> int:
    """Accept the files of a model as they are now: a served file may not change unseen."""
    from hakaru.cli.commands import trust as command

    return command.run(options)
