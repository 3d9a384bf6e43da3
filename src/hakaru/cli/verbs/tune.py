"""How `hakaru tune` is typed."""

from typing import TYPE_CHECKING

import click

from hakaru.cli.called import given
from hakaru.cli.parameters import PATH, again_option, json_option, optional_model, taking, wishes

if TYPE_CHECKING:
    from hakaru.cli.commands.tune import TuneOptions


@click.command()
@optional_model
@wishes
@click.option(
    "--speculative",
    is_flag=True,
    help="Also measure speculative decoding: whether it answers faster when a draft model on this "
    "disk, its own layers for it (MTP), or the text so far guess tokens ahead.",
)
@click.option("--draft", metavar="MODEL", help="The draft model to measure; means --speculative.")
@again_option
@click.option(
    "--replay",
    "replay_file",
    type=PATH,
    metavar="EVIDENCE",
    help="Decide again as an evidence file says.",
)
@click.option(
    "--report",
    type=PATH,
    metavar="FILE.html",
    help="Also write a report with the table and the picture of the levels.",
)
@click.option(
    "--plot",
    type=PATH,
    metavar="FILE.svg|png",
    help="Also draw the levels: loss against memory and speed.",
)
@json_option
@taking
def tune(options: "TuneOptions") -> int:
    """Find the level that meets the wishes, without serving it."""
    from hakaru.cli.commands import tune as command

    return command.run(options, given())
