"""The command line that is being run, as the commands see it."""

from typing import TYPE_CHECKING, NamedTuple

import click
from click.core import ParameterSource

if TYPE_CHECKING:
    from hakaru.cli.commands.test import Live
    from hakaru.engine.early import EarlyEngine
    from hakaru.serving.serve_at import Pages


class Around(NamedTuple):
    """What the process gives to its command. None: there is none of it."""

    pages: "Pages | None" = None  # makes the pages of a server
    live: "Live | None" = None  # makes the page of a test
    early: "EarlyEngine | None" = None  # of a server, which may run already


def given() -> tuple[str, ...]:
    """The options that the person wrote, by their first names."""
    context = click.get_current_context()
    options = (p for p in context.command.params if isinstance(p, click.Option) and p.name)
    return tuple(
        option.opts[0]
        for option in options
        if context.get_parameter_source(str(option.name)) is ParameterSource.COMMANDLINE
    )


def around() -> Around:
    """What the process gives, as `invoke` was told."""
    given_to_click: Around = click.get_current_context().obj
    return given_to_click
