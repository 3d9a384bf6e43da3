"""What the isolation of an engine costs: from the start to the first token, and tokens per second.

`python benchmarks/private.py [MODEL] [--rounds N]` takes the embedded model without MODEL. Servers
with and without isolation take turns, so that what slows the machine slows both. Prints medians,
and the median of what isolation makes of each figure, with its 95% interval (bootstrap). The engine
is the one in use (`hakaru engine list`).
"""

import argparse
import os
import time
from pathlib import Path

import numpy as np
import psutil
from numpy.typing import NDArray

from hakaru.engine.builds import server_build
from hakaru.engine.first_answer import give_first_answer
from hakaru.engine.mode import Mode
from hakaru.engine.server import EngineServer
from hakaru.hardware.probe import probe_machine
from hakaru.memory.settings import ContextSettings
from hakaru.models.embedded import embedded_model

N_PROMPT, N_PREDICT = 256, 48
NAMES = ("first token, s", "prompt, tokens/s", "decode, tokens/s", "processor, s")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("model", nargs="?", type=Path)
    parser.add_argument("--rounds", type=int, default=11)
    options = parser.parse_args()
    path = options.model or embedded_model()
    machine = probe_machine()
    print(f"{path.name}, {server_build()}, {machine.cpu.model}, {machine.cpu.usable_cores} cores")
    print(f"load before: {os.getloadavg()[0]:.1f}; {options.rounds} rounds")
    figures(path, private=False)  # the file is read from the disk once
    bare: list[tuple[float, ...]] = []
    private: list[tuple[float, ...]] = []
    for number in range(options.rounds):
        for kind in (False, True) if number % 2 else (True, False):
            (private if kind else bare).append(figures(path, private=kind))
    for name, without, with_ in zip(NAMES, np.array(bare).T, np.array(private).T, strict=True):
        part = with_ / without
        low, high = interval(part)
        print(
            f"{name:<18} bare {np.median(without):8.3f}   private {np.median(with_):8.3f}   "
            f"private/bare {np.median(part):.3f} ({low:.3f} to {high:.3f})"
        )
    print(f"load after: {os.getloadavg()[0]:.1f}")


def figures(path: Path, *, private: bool) -> tuple[float, ...]:
    """Seconds to the first token, tokens per second of a prompt and of an answer, and the seconds
    of processor time that both took.
    """
    began = time.monotonic()
    with EngineServer(path, ContextSettings(n_ctx=1024), Mode(private=private)) as server:
        give_first_answer(server)
        first = time.monotonic() - began
        prompt = [2 + i % 500 for i in range(N_PROMPT)]
        question = {"prompt": prompt, "n_predict": N_PREDICT, "ignore_eos": True}
        engine = psutil.Process(server.engine_pid)
        before = sum(engine.cpu_times()[:2])
        with server.client() as client:
            timings = client.post("/completion", json=question).json()["timings"]
        spent = sum(engine.cpu_times()[:2]) - before
    return first, timings["prompt_per_second"], timings["predicted_per_second"], spent


def interval(parts: NDArray[np.float64]) -> tuple[float, float]:
    """The 95% interval of the median, by drawing rounds anew."""
    drawn = np.random.default_rng(0).choice(parts, (10_000, len(parts)))
    low, high = np.percentile(np.median(drawn, axis=1), (2.5, 97.5))
    return float(low), float(high)


if __name__ == "__main__":
    main()
