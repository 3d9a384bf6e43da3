"""How `hakaru pull` is typed."""

from typing import TYPE_CHECKING

import click

from hakaru.cli.completing import model_names
from hakaru.cli.number_types import TOKENS
from hakaru.cli.parameters import dry_run_option, json_option, memory_option, taking

if TYPE_CHECKING:
    from hakaru.cli.commands.pull import PullOptions


@click.command(
    epilog="MODEL is a name of the catalogue, hf:org/repo or https://…; without a TYPE, such as "
    "Q4_K_M, the most exact one is taken that fits here."
)
@click.argument("model", metavar="MODEL[:TYPE]", shell_complete=model_names)
@click.option(
    "--context",
    type=TOKENS,
    help="Tokens of context with which it is to fit here.  [default: 4096 or less]",
)
@memory_option
@click.option("--vision", is_flag=True, help="Also the projector, with which it sees pictures.")
@click.option("--force", is_flag=True, help="Also what does not fit this machine.")
@dry_run_option
@json_option
@taking
def pull(options: "PullOptions") -> int:
    """Fetch a model onto this disk. The type that fits this machine, resumed and checked."""
    from hakaru.cli.commands import pull as command

    return command.run(options)
