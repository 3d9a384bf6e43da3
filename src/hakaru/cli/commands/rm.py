"""`hakaru rm`: a model off this disk."""

import sys
from dataclasses import dataclass

import click

from hakaru.cli.output import print_json, print_text
from hakaru.cli.paste import pasted
from hakaru.cli.terminal import terminal_session
from hakaru.cli.wrapping import whole
from hakaru.errors import Misuse
from hakaru.language import say
from hakaru.pulling.remove import Removal, removal_of
from hakaru.units import format_bytes


@dataclass(frozen=True, kw_only=True)
class RmOptions:
    """`hakaru rm`."""

    name: str
    yes: bool
    dry_run: bool
    json: bool


def run(options: RmOptions) -> int:
    """Say what goes and what else uses it, ask, and remove it. Returns 1 if a person says no."""
    removal = removal_of(options.name, terminal_session(quiet=options.json, keeps=False))
    if not options.json:
        _tell(removal)
    if not options.dry_run:
        if not options.yes and not _agreed(options):
            print_text(say("Nothing was removed."))
            return 1
        removal.do()
    if options.json:
        print_json(_as_json(removal, dry_run=options.dry_run))
    elif not options.dry_run:
        print_text(say("Removed; {bytes} are free again.", bytes=format_bytes(removal.freed_bytes)))
    return 0


def _tell(removal: Removal) -> None:
    for path in removal.paths:
        if path.is_symlink() or path.exists():
            print_text(whole(str(path)))
    for sentence in removal.uses:
        print_text(sentence)
    print_text(say("{bytes} would be freed.", bytes=format_bytes(removal.freed_bytes)))


def _agreed(options: RmOptions) -> bool:
    """Whether the person says yes. Raises Misuse where nobody can be asked."""
    if options.json or not sys.stdin.isatty():
        raise Misuse(
            "nothing was removed, since nobody can be asked; to remove it: {command}",
            command=pasted("hakaru", "rm", options.name, "--yes"),
        )
    return click.confirm(say("Remove it?"), err=True)


def _as_json(removal: Removal, *, dry_run: bool) -> dict[str, object]:
    return {
        "schema": "hakaru.rm/1",
        "dry_run": dry_run,
        "name": removal.item.name,
        "also": list(removal.item.also),
        "paths": [str(path) for path in removal.paths],
        "freed_bytes": removal.freed_bytes,
        "uses": list(removal.uses),
    }
