"""The command line that is being run, as the commands see it."""

from typing import TYPE_CHECKING, NamedTuple

import click
from click.core import ParameterSource

if TYPE_CHECKING:
    from hakaru.cli.commands.test import Live
    from hakaru.serving.serve_at import Pages


class Browser(NamedTuple):
    """How the pages are made. None: there are none."""

    pages: "Pages | None" = None  # of a server
    live: "Live | None" = None  # of a test


def given() -> tuple[str, ...]:
    """The options that the person wrote, by their first names."""
    context = click.get_current_context()
    options = (p for p in context.command.params if isinstance(p, click.Option) and p.name)
    return tuple(
        option.opts[0]
        for option in options
        if context.get_parameter_source(str(option.name)) is ParameterSource.COMMANDLINE
    )


def browser() -> Browser:
    """How the pages are made, as `invoke` was told."""
    given_to_click: Browser = click.get_current_context().obj
    return given_to_click
