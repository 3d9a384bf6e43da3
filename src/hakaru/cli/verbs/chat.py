"""How `hakaru chat` is typed."""

from typing import TYPE_CHECKING

import click

from hakaru.cli.number_types import TOKENS
from hakaru.cli.parameters import (
    context_options,
    hand_options,
    memory_option,
    optional_model,
    private_option,
    taking,
    template_option,
)

if TYPE_CHECKING:
    from hakaru.cli.commands.chat import ChatOptions


@click.command()
@optional_model
@click.option("--system", metavar="TEXT", help="Instruction for the model.")
@click.option("-p", "--prompt", metavar="TEXT", help="Ask once and end.")
@click.option(
    "--max-tokens",
    type=TOKENS,
    default=1024,
    show_default=True,
    metavar="N",
    help="Stop an answer after so many tokens; /more goes on.",
)
@click.option("--port", type=click.IntRange(1, 65535), help="Port of the running server.")
@click.option("--no-history", is_flag=True, help="Keep nothing of what is typed.")
@context_options
@hand_options
@memory_option
@template_option
@private_option
@taking
def chat(options: "ChatOptions") -> int:
    """Talk to the running server, or to a model file."""
    from hakaru.cli.commands import chat as command

    return command.run(options)
