"""Write docs/commands.md from the commands' own help texts; with --check only say whether it is up to date."""

import sys
from pathlib import Path
from typing import Final

from click import Context
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
| 130 | interrupted |
"""


def main() -> None:
    """Write or compare."""
    sections = [HEAD]
    for name in app.list_commands(Context(app)):
        text = CliRunner().invoke(app, [name, "--help"], prog_name="hakaru", terminal_width=100).output
        sections.append(f"\n## hakaru {name}\n\n```text\n{text.strip()}\n```\n")
    written = "".join(sections)
    if "--check" not in sys.argv:
        TARGET.write_text(written, encoding="utf-8")
    elif not TARGET.exists() or TARGET.read_text(encoding="utf-8") != written:
        raise SystemExit("docs/commands.md is out of date: run python scripts/help_text.py")


if __name__ == "__main__":
    main()
