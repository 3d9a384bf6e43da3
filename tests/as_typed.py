"""A command line as a person typed it, while its command runs."""

from collections.abc import Iterator
from contextlib import contextmanager

from hakaru.cli.app import app


@contextmanager
def typed(*words: str) -> Iterator[None]:
    """Click has read `words`, and their command runs; nothing of it does."""
    root = app.make_context("hakaru", list(words))
    command = app.commands[words[0]]
    with root, command.make_context(words[0], list(words[1:]), parent=root):
        yield
