"""How wrong our memory figures are: against the engine's dry run, beside the published peers, and
how fast they come.

`python benchmarks/memory.py` prints the machine, the versions and four tables: our arithmetic
against llama.cpp's dry run for one model of every known architecture and the embedded model, and
against public load logs; the peers on models that they know; plans per second.
docs/memory-benchmark.md has a run's results and tells what they mean.
"""

import argparse
import json
import os
import platform
import sys
import tempfile
from collections.abc import Callable
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import TextIO

sys.path.append(str(Path(__file__).parent.parent / "tests"))  # the Hub on loopback

from figures import errors, logs, peers, plans
from hakaru.engine.builds import lab_build
from hakaru.hardware.probe import probe_machine

PARTS = ("engine", "logs", "peers", "plans")


def main() -> None:
    """Measure and print what was asked for; everything without a word."""
    options = _options()
    scratch = Path(os.environ["XDG_DATA_HOME"])
    parts: dict[str, Callable[[], object]] = {
        "engine": lambda: [row.as_json() for row in errors.report(errors.compare(options.only))],
        "logs": logs.report,
        "peers": lambda: peers.report(options.peer_venv, scratch),
        "plans": plans.report,
    }
    _print_machine()
    results = {}
    for part in options.part or PARTS:
        with redirect_stdout(Copied(sys.stdout)) as printed:
            results[part] = parts[part]()
        if options.page:
            _put(options.page, part, printed.getvalue())
    if options.json:
        options.json.write_text(json.dumps(results, indent=1), encoding="utf-8")
    if options.page:
        with redirect_stdout(Copied(sys.stdout)) as printed:
            _print_machine()
        _put(options.page, "machine", printed.getvalue())


class Copied(StringIO):
    """What is printed, kept for the page and shown at once."""

    def __init__(self, shown: TextIO) -> None:
        super().__init__()
        self._shown = shown

    def write(self, text: str) -> int:
        """Keep and show."""
        self._shown.write(text)
        self._shown.flush()
        return super().write(text)


def _print_machine() -> None:
    machine = probe_machine()
    print(f"{machine.cpu.model}, {machine.cpu.usable_cores} cores, {machine.system}", end=", ")
    print(f"Python {platform.python_version()}, {lab_build()}\n")


def _put(page: Path, part: str, text: str) -> None:
    """Put what a part printed into its place in the page: between the two comments that name it."""
    before, begin, rest = page.read_text(encoding="utf-8").partition(f"<!-- {part} -->\n")
    _, end, after = rest.partition(f"<!-- end of {part} -->")
    if not begin or not end:
        raise SystemExit(
            f"{page}: has no place for {part}: expected the comments '<!-- {part} -->' and '<!-- "
            f"end of {part} -->'."
        )
    lines = "\n".join(line.rstrip() for line in text.strip().splitlines())
    page.write_text(f"{before}{begin}```text\n{lines}\n```\n{end}{after}", encoding="utf-8")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--part", action="append", choices=PARTS, help="only this part (may be repeated)"
    )
    parser.add_argument(
        "--only",
        metavar="ARCH",
        help="only this architecture, or 'embedded', in the engine's table",
    )
    parser.add_argument(
        "--peer-venv",
        action="append",
        type=Path,
        default=[],
        metavar="DIR",
        help="where a peer is installed",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every row there, too")
    parser.add_argument(
        "--page", type=Path, metavar="FILE", help="put the tables into this page, too"
    )
    return parser.parse_args()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch_folder:
        os.environ["XDG_DATA_HOME"] = scratch_folder
        main()
