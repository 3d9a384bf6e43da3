"""How `hakaru serve` is typed."""

from typing import TYPE_CHECKING

import click

from hakaru.cli.called import around
from hakaru.cli.completing import model_names
from hakaru.cli.number_types import DURATION
from hakaru.cli.parameters import (
    PATH,
    backend_options,
    cache_ram_option,
    context_options,
    dry_run_option,
    hand_options,
    json_option,
    memory_option,
    serving_options,
    taking,
    template_option,
    trust_option,
)

if TYPE_CHECKING:
    from hakaru.cli.ways_to_serve import ServeOptions


@click.command()
@click.argument("models", metavar="MODEL...", nargs=-1, shell_complete=model_names)
@context_options
@cache_ram_option
@hand_options
@memory_option
@template_option
@serving_options
@click.option(
    "--generate",
    type=click.Choice(("systemd", "compose", "quadlet", "containerfile")),
    help="Print a service or a container that runs this command line, and serve nothing.",
)
@click.option(
    "--idle",
    type=DURATION,
    metavar="TIME",
    help="Unload a model that nobody has asked for so long: 10m. The next request loads it again.",
)
@click.option(
    "--cluster",
    type=PATH,
    help="Over several machines, as a TOML file describes them; this one is the first.",
)
@trust_option
@click.option("--restart", is_flag=True, help="Begin again when a worker of the cluster is lost.")
@backend_options
@dry_run_option
@json_option
@taking
def serve(options: "ServeOptions") -> int:
    """Serve a model at 127.0.0.1 for any OpenAI client, or several, or what runs elsewhere."""
    from hakaru.cli.commands import serve as command

    return command.run(options, pages=around().pages, early=around().early)
