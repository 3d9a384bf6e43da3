"""A part of a page that a script writes: it stands between two comments that name the script."""

import sys
from pathlib import Path


def write_between(page: Path, name: str, part: str) -> None:
    """Put `part` where scripts/`name`.py writes in `page`; with --check only compare. Raises
    SystemExit if they differ.
    """
    begin, end = f"<!-- {name}: written by scripts/{name}.py -->\n", f"<!-- end of {name} -->\n"
    text = page.read_text(encoding="utf-8")
    before, _, rest = text.partition(begin)
    written = f"{before}{begin}{part}{end}{rest.partition(end)[2]}"
    if "--check" not in sys.argv:
        page.write_text(written, encoding="utf-8")
    elif text != written:
        raise SystemExit(f"docs/{page.name} is out of date: run python scripts/{name}.py")
