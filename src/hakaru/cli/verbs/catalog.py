"""How `hakaru catalog` is typed."""

from typing import TYPE_CHECKING

import click

from hakaru.cli.parameters import json_option, model_argument, taking

if TYPE_CHECKING:
    from hakaru.cli.commands.catalog import (
        CatalogAddOptions,
        CatalogRmOptions,
        CatalogUpdateOptions,
    )


@click.group(invoke_without_command=True)
@json_option
@click.pass_context
def catalog(context: click.Context, json: bool) -> int | None:
    """The models that hakaru knows by name. How old the list is, whose figures stand in it."""
    if context.invoked_subcommand is None:
        from hakaru.cli.commands import catalog as command

        return command.run(command.CatalogOptions(json=json))
    if json:
        raise click.UsageError("--json stands behind the command: hakaru catalog update --json.")
    return None


@catalog.command("update")
@json_option
@taking
def catalog_update(options: "CatalogUpdateOptions") -> int:
    """Ask the Hugging Face Hub of every model: licence, gating, GGUF files; and what is new."""
    from hakaru.cli.commands import catalog as command

    return command.update(options)


@catalog.command("add")
@model_argument
@click.option("--name", metavar="NAME", help="Its name.  [default: that of its repository or file]")
@json_option
@taking
def catalog_add(options: "CatalogAddOptions") -> int:
    """Add a model by its own header; no weight is downloaded."""
    from hakaru.cli.commands import catalog as command

    return command.add(options)


@catalog.command("rm")
@click.argument("name", metavar="NAME")
@json_option
@taking
def catalog_rm(options: "CatalogRmOptions") -> int:
    """Take a model of your own out again; files of the model stay."""
    from hakaru.cli.commands import catalog as command

    return command.rm(options)
