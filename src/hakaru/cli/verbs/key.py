"""How `hakaru key` is typed."""

from typing import TYPE_CHECKING

import click

from hakaru.cli.parameters import json_option, taking

if TYPE_CHECKING:
    from hakaru.cli.commands.key import KeyAddOptions, KeyListOptions, KeyRmOptions


@click.group()
def key() -> None:
    """Keys for other machines that ask a server here. Make, list, remove."""


@key.command("add")
@click.argument("name", metavar="NAME")
@json_option
@taking
def key_add(options: "KeyAddOptions") -> int:
    """Make a key, and show it this once: only its hash is kept."""
    from hakaru.cli.commands import key as command

    return command.add_key(options)


@key.command("list")
@json_option
@taking
def key_list(options: "KeyListOptions") -> int:
    """Show the names of the keys, and since when they are there."""
    from hakaru.cli.commands import key as command

    return command.list_keys(options)


@key.command("rm")
@click.argument("name", metavar="NAME")
@json_option
@taking
def key_rm(options: "KeyRmOptions") -> int:
    """Take a key back, for servers that are started from now on."""
    from hakaru.cli.commands import key as command

    return command.remove_key(options)
