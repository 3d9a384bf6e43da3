"""How `hakaru ls` is typed."""

from typing import TYPE_CHECKING

import click

from hakaru.cli.parameters import json_option, taking

if TYPE_CHECKING:
    from hakaru.cli.commands.ls import LsOptions


@click.command(
    epilog="It looks into the caches of Hugging Face, Ollama, LM Studio and llama.cpp, at what "
    "hakaru made, and into the current folder; or only into each FOLDER that is named. Words "
    "search: in names, types, classes, in English and Japanese."
)
@click.argument("words", metavar="[WORD|FOLDER]...", nargs=-1)
@click.option(
    "--catalog",
    is_flag=True,
    help="Instead the models that hakaru knows by name, on this disk or not.",
)
@json_option
@taking
def ls(options: "LsOptions") -> int:
    """List the models on this disk, and whether each fits."""
    from hakaru.cli.commands import ls as command

    return command.run(options)
