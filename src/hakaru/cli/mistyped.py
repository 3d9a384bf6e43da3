"""What helps whoever mistyped a command line, beside what Click found wrong with it."""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import click

from hakaru.language import listed, say

_PATHS: Final = frozenset({".gguf", ".safetensors", ".json", ".jsonl", ".txt", ".md", ".html"})
"""Ends of names of files that commands take."""
_TYPES: Final = frozenset({"--type", "--bits"})


def hints(group: click.Group, error: click.UsageError, arguments: Sequence[str]) -> Iterator[str]:
    """Sentences about `arguments`, the whole command line, which Click refuses with `error`."""
    dashed = [shlex.quote(f"./{word}") for word in arguments if _is_dashed_file(word)]
    if dashed:
        yield say("A file whose name begins with a dash is typed as {path} here.", path=dashed[0])
    elif isinstance(error, click.NoSuchOption) and error.option_name in _TYPES:
        yield say(
            "A model has the type of its file: hakaru quantize MODEL {option} writes another one, "
            "hakaru fit MODEL {option} tells whether that would fit.",
            option=f"{error.option_name} {'4' if error.option_name == '--bits' else 'Q4_K_M'}",
        )
    elif isinstance(error, click.NoSuchOption):
        commands = _commands_by_option(group).get(error.option_name)
        if commands:
            yield say(
                "{option} is an option of {commands}.",
                option=error.option_name,
                commands=listed(commands),
            )


def _is_dashed_file(word: str) -> bool:
    """True for a word that names a file and looks like an option: `-model.gguf`."""
    if not word.startswith("-") or word.strip("-") == "" or "=" in word:
        return False
    return Path(word).suffix.lower() in _PATHS or Path(word).exists()


def _commands_by_option(group: click.Group, prefix: str = "hakaru") -> Mapping[str, list[str]]:
    """The commands that have an option, by the option."""
    found: dict[str, list[str]] = {}
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            for option, commands in _commands_by_option(command, f"{prefix} {name}").items():
                found.setdefault(option, []).extend(commands)
        for param in command.params:
            for option in param.opts:
                found.setdefault(option, []).append(f"{prefix} {name}")
    return found
