"""How wrong our compute buffers are where the experts of all layers stay in RAM (`-ncmoe`).

`python benchmarks/experts_in_ram.py FOLDER` takes the folder of a native build
(`hakaru engine list --json` names it). For the most downloaded mixture of every architecture it
compares with llama.cpp's dry run, at two settings and on one and two devices, which are RPC workers
on this machine. Prints every figure that is not equal, in MiB, and the sums.
"""

import platform
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct

sys.path.append(str(Path(__file__).parent.parent / "tests"))  # the workers

from hakaru.engine.builds import lab_build
from hakaru.hardware.probe import probe_machine
from over_rpc import TOLERANCE, cases, compute_on_devices, workers_of

MIB = 2**20
PLACES = ("host", "first", "last")


class Row(Struct, frozen=True):
    """One compute buffer of one dry run, in bytes."""

    architecture: str
    n_devices: int
    n_ctx: int
    place: str  # one of PLACES
    ours: int
    engine: int

    @property
    def error(self) -> int:
        """Ours less the engine's."""
        return self.ours - self.engine


def main() -> None:
    """Compare and print."""
    native, machine = Path(sys.argv[1]), probe_machine()
    print(f"{machine.cpu.model}, {machine.system}, Python {platform.python_version()}")
    print(lab_build())
    compared = list(cases(lambda known: bool(known.shape.n_expert), experts_on_host=True))
    with tempfile.TemporaryDirectory() as folder, workers_of(native) as workers:
        theirs = compute_on_devices(native, workers, compared, Path(folder))
    rows = [
        Row(case.known.architecture, case.n_devices, case.settings.n_ctx, *figures)
        for case, buffers in zip(compared, theirs, strict=True)
        for figures in zip(PLACES, case.computed(), buffers, strict=False)
    ]
    for row in rows:
        if abs(row.error) > TOLERANCE:
            print(
                f"{row.architecture:<16}{row.n_devices} devices{row.n_ctx:>7} {row.place:<6}"
                f"{row.ours / MIB:>9.1f}{row.engine / MIB:>9.1f}{row.error / MIB:>+9.1f}"
            )
    print()
    for place in PLACES:
        print_sum(place, [row for row in rows if row.place == place])


def print_sum(place: str, rows: Sequence[Row]) -> None:
    """One line: how many figures are equal, near and too small, and the worst."""
    equal = sum(abs(row.error) <= TOLERANCE for row in rows)
    near = sum(abs(row.error) <= max(16 * MIB, 0.03 * row.engine) for row in rows)
    small = sum(row.error < -TOLERANCE for row in rows)
    worst = min(rows, key=lambda row: row.error)
    print(
        f"{place:<6}{len(rows):>4} figures, {equal} equal, {near} within 3% or 16 MiB, {small} "
        f"too small, the worst {worst.architecture} {worst.error / MIB:+.1f} of "
        f"{worst.engine / MIB:.1f} MiB"
    )


if __name__ == "__main__":
    main()
