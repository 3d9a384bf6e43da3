"""Write docs/commands.md from the commands' own help texts; with --check only say whether it is up
to date.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from click import Context, Group
from click.testing import CliRunner

from hakaru.cli.app import app

TARGET: Final = Path(__file__).resolve().parent.parent / "docs" / "commands.md"
HEAD: Final = """# Commands

Written by `scripts/help_text.py` from the commands themselves; `make check` compares both.
Every command takes `--lang en|ja`. stdout is the result, stderr the progress.

| exit code | meaning |
|---|---|
| 0 | done |
| 1 | failed |
| 2 | misused |
| 3 | does not fit |
| 4 | model not found or damaged |
| 5 | network needed but offline |
| 6 | engine failed |
| 7 | `conform`: nothing failed, but of some checks it cannot be told |
| 130 | interrupted |
"""


def main() -> None:
    """Write or compare."""
    sections = [HEAD]
    for words in _commands(app):
        text = (
            CliRunner()
            .invoke(app, [*words, "--help"], prog_name="hakaru", terminal_width=100)
            .output
        )
        sections.append(f"\n## hakaru {' '.join(words)}\n\n```text\n{text.strip()}\n```\n")
    written = "".join(sections)
    if "--check" not in sys.argv:
        TARGET.write_text(written, encoding="utf-8")
    elif not TARGET.exists() or TARGET.read_text(encoding="utf-8") != written:
        raise SystemExit("docs/commands.md is out of date: run python scripts/help_text.py")


def _commands(group: Group) -> Iterator[list[str]]:
    """The words of every command, those of a group behind the group's: `fit`, `engine`, `engine
    build`.
    """
    for name in group.list_commands(Context(group)):
        yield [name]
        command = group.commands[name]
        if isinstance(command, Group):
            yield from ([name, *words] for words in _commands(command))


if __name__ == "__main__":
    main()
