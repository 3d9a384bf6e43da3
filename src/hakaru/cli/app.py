"""The program: a group of verbs, of which only the one that is typed is imported. How a verb is
typed stands in `verbs`, what it does in `commands`.
"""

from collections.abc import Iterator, MutableMapping
from importlib import import_module

import click

import hakaru
from hakaru.cli.called import Around
from hakaru.cli.in_language import in_one_sentence, speak, use_language
from hakaru.cli.mistyped import hints
from hakaru.cli.paste import VERBS
from hakaru.errors import Misuse
from hakaru.language import together


class Verbs(MutableMapping[str, click.Command]):
    """The commands by name, each imported when it is asked for, in the language in use."""

    def __getitem__(self, name: str) -> click.Command:
        if name not in VERBS:
            raise KeyError(name)
        module = name.replace("-", "_")
        command: click.Command = getattr(import_module(f"hakaru.cli.verbs.{module}"), module)
        speak(command)
        return command

    def __iter__(self) -> Iterator[str]:
        return iter(VERBS)

    def __len__(self) -> int:
        return len(VERBS)

    def __contains__(self, name: object) -> bool:
        return name in VERBS

    def __setitem__(self, name: str, command: click.Command) -> None:
        raise NotImplementedError("a verb is a module in `verbs`")

    def __delitem__(self, name: str) -> None:
        raise NotImplementedError("a verb is a module in `verbs`")


@click.group(
    commands=Verbs(),
    epilog="MODEL is a GGUF file, a folder, hf:org/repo[:file or type], https://… or ollama:name. "
    "Every command takes --lang en|ja.\n\nStart with: hakaru up",
)
@click.version_option(hakaru.__version__, prog_name="hakaru", message="%(prog)s %(version)s")
def app() -> None:
    """Find, quantize, measure and privately run the language model that truly fits your machine."""


def invoke(arguments: list[str], around: Around) -> int:
    """Run one command line and return its exit code. What click finds wrong with it becomes Misuse:
    one way of saying errors.
    """
    use_language()
    speak(app)
    try:
        result = app.main(arguments, prog_name="hakaru", standalone_mode=False, obj=around)
    except click.exceptions.NoArgsIsHelpError as help_text:
        click.echo(help_text.format_message())
        return 0
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else _typed_command(arguments)
        reason = together([in_one_sentence(error), *hints(app, error, arguments)])
        raise Misuse("{reason} See: {command} --help", reason=reason, command=command) from error
    except SystemExit as error:  # click's answer to a reader that left, as `head` does
        raise BrokenPipeError from error
    except click.Abort as error:
        raise (error.__cause__ or KeyboardInterrupt()) from error  # the cause may say what is kept
    return result if isinstance(result, int) else 0


def _typed_command(arguments: list[str]) -> str:
    """The command that the arguments begin with: click's parser does not say which it read."""
    command: click.Command | None = app
    words = ["hakaru"]
    for word in arguments:
        command = command.commands.get(word) if isinstance(command, click.Group) else None
        if command is None:
            break
        words.append(word)
    return " ".join(words)
