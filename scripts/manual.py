"""Write docs/hakaru.1, the page of `man hakaru`, from the commands' own help texts; with --check
only say whether it is up to date.

One page has every command, so that `/serve` finds it. click-man, which makes a page for each, was
tried (0.6.0): it leaves out what stands behind the options, and writes a line that begins with a
point as a command of roff.
"""

import re
import sys
from collections.abc import Iterator
from inspect import cleandoc
from pathlib import Path
from typing import Final

import click

from hakaru import __version__
from hakaru.cli.app import app

TARGET: Final = Path(__file__).resolve().parent.parent / "docs" / "hakaru.1"
ABOUT: Final = (
    "finds, makes, measures and privately serves the language model that fits this machine"
)
EXIT_CODES: Final = (
    (0, "done"), (1, "failed"), (2, "misused"), (3, "does not fit"),
    (4, "model not found or damaged"), (5, "network needed but offline"), (6, "engine failed"),
    (7, "conform: nothing failed, but of some checks it cannot be told"), (130, "interrupted"),
)  # fmt: skip


def main() -> None:
    """Write or compare."""
    written = "\n".join(_page()) + "\n"
    if "--check" not in sys.argv:
        TARGET.write_text(written, encoding="utf-8")
    elif not TARGET.exists() or TARGET.read_text(encoding="utf-8") != written:
        raise SystemExit("docs/hakaru.1 is out of date: run python scripts/manual.py")


def _page() -> Iterator[str]:
    yield f'.TH HAKARU 1 "" "hakaru {__version__}"'
    yield ".SH NAME"
    yield f"hakaru \\- {escaped(ABOUT)}"
    yield ".SH SYNOPSIS"
    yield ".B hakaru"
    yield escaped("[--lang en|ja] COMMAND [OPTIONS] [ARGUMENTS]")
    yield ".SH COMMANDS"
    for words, command in _commands(app, click.Context(app, info_name="hakaru")):
        yield from _section(words, command)
    yield ".SH EXIT STATUS"
    for code, meaning in EXIT_CODES:
        yield from (".TP", str(code), escaped(meaning))


def _commands(
    group: click.Group, above: click.Context
) -> Iterator[tuple[click.Context, click.Command]]:
    for name in group.list_commands(above):
        command = group.commands[name]
        context = click.Context(command, info_name=name, parent=above)
        yield context, command
        if isinstance(command, click.Group):
            yield from _commands(command, context)


def _section(context: click.Context, command: click.Command) -> Iterator[str]:
    yield f".SS {escaped(context.command_path)}"
    yield ".B " + escaped(context.command_path)
    yield escaped(" ".join(command.collect_usage_pieces(context)))
    yield from _prose(command.help or "")
    for option in command.params:
        record = option.get_help_record(context) if isinstance(option, click.Option) else None
        if record and "--help" not in option.opts:
            yield from (".TP", f"\\fB{escaped(record[0])}\\fP", escaped(record[1]))
    yield from _prose(command.epilog or "")


def _prose(text: str) -> Iterator[str]:
    """Paragraphs; of one that Click leaves as it is (`\\b`), every line stays a line."""
    for paragraph in filter(None, cleandoc(text).split("\n\n")):
        lines = paragraph.splitlines()
        yield ".PP"
        if lines[0].strip() == "\b":
            yield from (".nf", *map(escaped, lines[1:]), ".fi")
        else:
            yield from map(escaped, lines)


def escaped(text: str) -> str:
    """`text` on one line of roff: a backslash, a hyphen, and a point or a quote at its begin are
    themselves.
    """
    plain = re.sub(r"\s+", " ", text).strip()
    for found, written in (("\\", "\\e"), ("-", "\\-"), ("…", "...")):
        plain = plain.replace(found, written)
    return f"\\&{plain}" if plain.startswith((".", "'")) else plain


if __name__ == "__main__":
    main()
