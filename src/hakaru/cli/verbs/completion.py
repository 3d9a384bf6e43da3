"""How `hakaru completion` is typed."""

from typing import TYPE_CHECKING

import click

from hakaru.cli.parameters import taking

if TYPE_CHECKING:
    from hakaru.cli.commands.completion import CompletionOptions


EPILOG = """\b
bash, in ~/.bashrc:                eval "$(hakaru completion bash)"
zsh, in ~/.zshrc behind compinit:  eval "$(hakaru completion zsh)"
fish, once: hakaru completion fish > ~/.config/fish/completions/hakaru.fish
"""


@click.command(epilog=EPILOG)
@click.argument("shell", type=click.Choice(("bash", "zsh", "fish")))
@taking
def completion(options: "CompletionOptions") -> int:
    """Print what makes a shell complete commands, options, models and files with Tab."""
    from hakaru.cli.commands import completion as command

    return command.run(options)
