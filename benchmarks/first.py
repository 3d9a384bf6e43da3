"""First figures: how long commands take to start, what `fit` takes, and how fast distributions are
compared.

`python benchmarks/first.py` prints the machine, the versions and one table. The comparison is set
against the engine's bare prefill of the same windows in the same run, so that the ratio means
something on any machine.
"""

import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from hakaru.engine.builds import lab_build, server_build
from hakaru.engine.lab import Lab
from hakaru.evaluation.texts import texts_at_hand
from hakaru.evaluation.windows import windows_of_documents
from hakaru.hardware.probe import probe_machine
from hakaru.models.embedded import embedded_model

REPEATS = 5
HAKARU = [sys.executable, "-m", "hakaru"]


def main() -> None:
    """Measure and print."""
    machine, model = probe_machine(), embedded_model()
    print(
        f"{machine.cpu.model}, {machine.cpu.usable_cores} cores, {machine.system}, Python "
        f"{platform.python_version()}"
    )
    print(f"{lab_build()}, {server_build()}, {model.name}\n")
    print(f"{'what':<44}{'median':>10}{'worst':>10}")
    for arguments in (
        ["--help"],
        ["formula", "--params", "70B", "--bits", "4"],
        ["hardware"],
        ["fit", str(model)],
    ):
        report(f"hakaru {' '.join(arguments[:1])}", seconds(partial(command, arguments)), "s")
    comparison(model)


def comparison(model: Path) -> None:
    """Tokens per second of a comparison with one candidate, beside twice the bare prefill of the
    same windows.
    """
    lab = Lab()
    documents = texts_at_hand()[:8]
    windows = [
        w.as_json()
        for w in windows_of_documents(
            documents, lab.tokenize(model, [d.text for d in documents])[0]
        )
    ]
    n_tokens = sum(len(w["tokens"]) for w in windows)
    last_only = [{"tokens": w["tokens"], "first": len(w["tokens"]) - 2} for w in windows]
    load = statistics.median(seconds(lambda: lab.compare(model, [model], last_only[:1])))
    bare = [s - load for s in seconds(lambda: lab.compare(model, [model], last_only))]
    full = [s - load for s in seconds(lambda: lab.compare(model, [model], windows))]
    done = 2 * n_tokens * (len(windows) - 1) / len(windows)
    report("prefill of reference and candidate, no logits", [done / s for s in bare], "tokens/s")
    report("the same with the comparison of distributions", [done / s for s in full], "tokens/s")
    print(
        f"\nthe comparison costs {statistics.median(full) / statistics.median(bare) - 1:.0%} on "
        "top (loading taken off)"
    )


def command(arguments: list[str]) -> None:
    """Run one command and throw its output away."""
    subprocess.run([*HAKARU, *arguments], check=True, capture_output=True)


def seconds(action: Callable[[], object]) -> list[float]:
    """Wall time of `REPEATS` runs after one that warms up."""
    action()
    times = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        action()
        times.append(time.perf_counter() - began)
    return times


def report(what: str, values: list[float], unit: str) -> None:
    """One row: the median and the worst."""
    worst = max(values) if unit == "s" else min(values)
    print(f"{what:<44}{statistics.median(values):>10.2f}{worst:>10.2f} {unit}", flush=True)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["XDG_DATA_HOME"] = scratch
        main()
