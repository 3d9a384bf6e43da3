"""How `hakaru serve` is typed."""

from typing import TYPE_CHECKING

import click

from hakaru.cli.called import browser
from hakaru.cli.completing import model_names
from hakaru.cli.parameters import (
    PATH,
    context_options,
    dry_run_option,
    hand_options,
    json_option,
    memory_option,
    port_option,
    private_option,
    taking,
    template_option,
)

if TYPE_CHECKING:
    from hakaru.cli.commands.serve import ServeOptions


@click.command()
@click.argument("models", metavar="MODEL...", nargs=-1, required=True, shell_complete=model_names)
@context_options
@hand_options
@memory_option
@template_option
@click.option(
    "--alias", metavar="NAME", help="What clients call the model, instead of its file's name."
)
@port_option
@private_option
@click.option(
    "--allow-origin",
    multiple=True,
    metavar="ORIGIN",
    help="A site whose pages may use the server: http://localhost:3000 (repeatable).",
)
@click.option(
    "--host", metavar="ADDRESS", help="Address to listen at; others than 127.0.0.1 need a key."
)
@click.option("--api-key", metavar="KEY", multiple=True, help="A key to ask for (repeatable).")
@click.option("--api-key-file", metavar="FILE", type=PATH, help="Keys to ask for, one a line.")
@click.option("--tls-cert", metavar="FILE", type=PATH, help="Certificate for HTTPS, in PEM.")
@click.option("--tls-key", metavar="FILE", type=PATH, help="The certificate's key, in PEM.")
@click.option("--insecure", is_flag=True, help="Let other machines in without TLS.")
@click.option(
    "--drain",
    default="10s",
    show_default=True,
    metavar="TIME",
    help="How long answers on their way may go on after SIGTERM.",
)
@click.option(
    "--generate",
    type=click.Choice(("systemd", "compose", "quadlet", "containerfile")),
    help="Print a service or a container that runs this command line, and serve nothing.",
)
@click.option(
    "--queue",
    type=click.IntRange(0),
    metavar="N",
    help="How many requests may wait for their turn; by default 64 for each of --parallel.",
)
@click.option(
    "--idle",
    metavar="TIME",
    help="Unload a model that nobody has asked for so long: 10m. The next request loads it again.",
)
@dry_run_option
@json_option
@taking
def serve(options: "ServeOptions") -> int:
    """Serve a model at 127.0.0.1 for any OpenAI client, or several, loaded as they are asked."""
    from hakaru.cli.commands import serve as command

    return command.run(options, pages=browser().pages)
