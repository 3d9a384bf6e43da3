"""How wrong our memory figures are: against the engine's dry run, beside the published peers, and how fast they come.

`python benchmarks/memory.py` prints the machine, the versions and three tables: our arithmetic against llama.cpp's dry run
for one model of every known architecture and the embedded model; the peers on models that they know; plans per second.
docs/memory-benchmark.md has a run's results and tells what they mean.
"""

import argparse
import json
import os
import platform
import sys
import tempfile
from pathlib import Path

sys.path.append(str(Path(__file__).parent.parent / "tests"))  # the Hub on loopback

from figures import errors, peers, plans
from hakaru.engine.lab import lab_build
from hakaru.hardware.probe import probe_machine


def main() -> None:
    """Measure and print what was asked for; everything without a word."""
    options = _options()
    machine = probe_machine()
    print(f"{machine.cpu.model}, {machine.cpu.usable_cores} cores, {machine.system}", end=", ")
    print(f"Python {platform.python_version()}, {lab_build()}\n")
    wanted = options.part or ["engine", "peers", "plans"]
    result: dict[str, object] = {}
    if "engine" in wanted:
        result["engine"] = [row.as_json() for row in errors.report(errors.compare(options.only))]
    if "peers" in wanted:
        result["peers"] = peers.report(options.peer_venv, Path(os.environ["XDG_DATA_HOME"]))
    if "plans" in wanted:
        result["plans"] = plans.report()
    if options.json:
        options.json.write_text(json.dumps(result, indent=1), encoding="utf-8")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", action="append", choices=["engine", "peers", "plans"], help="only this part (may be repeated)")
    parser.add_argument("--only", metavar="ARCH", help="only this architecture, or 'embedded', in the engine's table")
    parser.add_argument("--peer-venv", action="append", type=Path, default=[], metavar="DIR", help="where a peer is installed")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every row there, too")
    return parser.parse_args()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["XDG_DATA_HOME"] = scratch
        main()
