"""How `hakaru up` is typed."""

from typing import TYPE_CHECKING

import click

from hakaru.cli.called import around
from hakaru.cli.parameters import (
    again_option,
    json_option,
    mmproj_option,
    optional_model,
    serving_options,
    taking,
    wishes,
)

if TYPE_CHECKING:
    from hakaru.cli.commands.up import UpOptions


@click.command(
    epilog="Without MODEL it takes the small one that comes with hakaru; with --task chat, code, "
    "reasoning, rag or tool-use it fetches the one that hakaru choose recommends for this machine."
)
@optional_model
@wishes
@serving_options
@mmproj_option
@click.option("--no-serve", is_flag=True, help="Decide, but do not serve.")
@again_option
@json_option
@taking
def up(options: "UpOptions") -> int:
    """Everything: look, check, quantize, test, decide, serve."""
    from hakaru.cli.commands import up as command

    return command.run(options, pages=around().pages)
