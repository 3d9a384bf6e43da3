"""How `hakaru engine` is typed."""

from typing import TYPE_CHECKING

import click

from hakaru.cli.parameters import json_option, taking

if TYPE_CHECKING:
    from hakaru.cli.commands.engine import EngineBuildOptions, EngineListOptions, EngineUseOptions


@click.group()
def engine() -> None:
    """The builds of llama.cpp that measure and serve. List them, make a faster one, choose."""


@engine.command("list")
@json_option
@taking
def engine_list(options: "EngineListOptions") -> int:
    """Show every build, what each can do and which is used."""
    from hakaru.cli.commands import engine as command

    return command.list_engines(options)


@engine.command("build")
@click.option(
    "--backend",
    type=click.Choice(["cpu", "cuda", "vulkan", "hip", "metal"]),
    help="What it computes on.  [default: this machine's GPU, else cpu]",
)
@click.option("--no-use", is_flag=True, help="Make it, and go on with what is used now.")
@json_option
@taking
def engine_build(options: "EngineBuildOptions") -> int:
    """Compile the pinned llama.cpp for this very processor, and use it from then on."""
    from hakaru.cli.commands import engine as command

    return command.build(options)


@engine.command("use")
@click.argument("name", metavar="wheel|native|PATH")
@json_option
@taking
def engine_use(options: "EngineUseOptions") -> int:
    """Measure and serve with another build; the llama-server at PATH only serves."""
    from hakaru.cli.commands import engine as command

    return command.use_engine(options)
