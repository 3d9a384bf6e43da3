"""Whether the test of quality is true, quick and thrifty.

    python benchmarks/evaluation.py [MODEL.gguf ...] [--only coverage,throughput,agreement,tokens]

Without a model it takes the one that comes with hakaru; its candidate is made of it at Q4_K_M, in a
temporary home.

- coverage: how many of 200 (and of 2,000) resamples of a known population have the truth in their
  95% interval. The population is the test windows as they were measured; a sample is 40 of them,
  drawn with replacement.
- throughput: tokens per second of the comparison against those of bare decoding of the same batches
  by the same two models, in turn.
- agreement: our mean KLD beside the method of llama.cpp's perplexity tool on the same logits:
  log-probabilities of the reference kept in 16 bits above the largest less 16 nats, and sums of
  single precision (tools/perplexity/perplexity.cpp: log_softmax). The tool itself is not in the
  wheel, so its arithmetic is written out here.
- tokens: what the rounds of `hakaru tune` read of what a full sweep reads, and whether both take
  the same level.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hakaru.choosing.candidate import Constraints
from hakaru.choosing.loop import tune_at
from hakaru.choosing.worker import Effort
from hakaru.engine.builds import lab_build
from hakaru.engine.call import SLEEP_SOON
from hakaru.engine.lab import Lab
from hakaru.evaluation.divergence import quality_of
from hakaru.evaluation.losses import windows_of
from hakaru.evaluation.tiers import TIERS
from hakaru.evaluation.windows import Window
from hakaru.hardware.probe import probe_machine
from hakaru.hardware.threads import n_threads
from hakaru.ledger import Ledger
from hakaru.memory.settings import ContextSettings
from hakaru.models.embedded import embedded_model
from hakaru.models.model import Model, read_model
from hakaru.quantization.build import plan_presets
from hakaru.quantization.levels import Levels
from hakaru.session import Session

PARTS = ("coverage", "throughput", "agreement", "tokens")
N_SAMPLE, REPEATS = 40, 3


def coverage(rows: Sequence[dict[str, Any]], domains: Sequence[str]) -> None:
    """How often the interval holds the mean of the population."""
    truth = sum(r["kld"] for r in rows) / sum(r["n"] for r in rows)
    dice, held = np.random.default_rng(0), list[bool]()
    for _ in range(2000):
        drawn = dice.integers(0, len(rows), N_SAMPLE)
        figure = quality_of(
            [{**rows[i], "klds": [0.0]} for i in drawn], [domains[i] for i in drawn]
        ).kld_mean
        held.append(figure.lowest <= truth <= figure.highest)
    print(
        f"  coverage: {np.mean(held[:200]):.1%} of 200 resamples of {N_SAMPLE} of {len(rows)} "
        f"windows, {np.mean(held):.1%} of 2,000",
        flush=True,
    )


def timed(
    reference: Path, candidate: Path, windows: Sequence[Window], what: str
) -> dict[str, float]:
    """What a child of its own measures."""
    request = json.dumps(
        {
            "reference": str(reference),
            "candidate": str(candidate),
            "windows": [w.as_json() for w in windows],
            "what": what,
        }
    )
    done = subprocess.run(
        [sys.executable, __file__, "--child"],
        input=request,
        text=True,
        stdout=subprocess.PIPE,
        check=True,
        stderr=subprocess.DEVNULL,
        env=SLEEP_SOON | os.environ,
    )
    found: dict[str, float] = json.loads(done.stdout)
    return found


def child() -> None:
    """Bare decoding, the comparison, or both methods on the same logits; prints one JSON object."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    from concurrent.futures import ThreadPoolExecutor

    from hakaru.engine import libllama
    from hakaru.engine.distributions import sums_of, token_divergences
    from hakaru.engine.logits import Batch, Plan, targets

    libllama.start()
    request = json.loads(sys.stdin.read())
    windows = request["windows"]
    with (
        libllama.model(Path(request["reference"])) as a,
        libllama.model(Path(request["candidate"])) as b,
        ThreadPoolExecutor(n_threads()) as pool,
    ):
        plan = Plan(windows, n_vocab=libllama.n_vocab(a))
        with plan.context(a) as one, plan.context(b) as two:
            batch = Batch(plan.n_tokens)
            batch.decode_windows(one, plan.batches[0])
            batch.decode_windows(two, plan.batches[0])
            began, ours, theirs = time.perf_counter(), list[float](), list[float]()
            for some in plan.batches:
                reference = batch.decode_windows(one, some)
                candidate = batch.decode_windows(two, some)
                if request["what"] == "compare":
                    list(pool.map(token_divergences, reference, candidate, map(targets, some)))
                elif request["what"] == "agreement":
                    for x, y, window in zip(reference, candidate, some, strict=True):
                        ours.append(
                            sums_of(token_divergences(x, y, targets(window)))["kld"] / len(x)
                        )
                        theirs.append(
                            float(
                                np.mean([perplexity_kld(p, q) for p, q in zip(x, y, strict=True)])
                            )
                        )
            seconds = time.perf_counter() - began
    n = sum(len(w["tokens"]) for w in windows)
    json.dump({"tokens_per_s": n / seconds, "ours": ours, "theirs": theirs}, out)
    out.flush()


def perplexity_kld(base: npt.NDArray[np.float32], logits: npt.NDArray[np.float32]) -> float:
    """KLD of one token as llama.cpp's perplexity tool computes it from its file of 16-bit
    log-probabilities.
    """
    top = base.max()
    bottom = max(base.min(), top - np.float32(16))
    log_sum = np.log(np.exp(base - top, dtype=np.float32).sum(dtype=np.float64))
    scale = np.float32((top - bottom) / 65535)
    kept = np.where(base > bottom, np.rint((base - bottom) / scale) if scale else 0, 0).astype(
        np.uint16
    )
    log_p = (scale * kept + np.float32(bottom - top - log_sum)).astype(np.float32)
    log_q = (
        logits
        - logits.max()
        - np.float32(np.log(np.exp(logits - logits.max(), dtype=np.float32).sum(dtype=np.float64)))
    ).astype(np.float32)
    counts = log_p > -16
    return float(
        (np.exp(log_p[counts], dtype=np.float32) * (log_p[counts] - log_q[counts])).sum(
            dtype=np.float64
        )
    )


def throughput(reference: Path, candidate: Path, windows: Sequence[Window]) -> None:
    """Both in turn, medians."""
    rates: dict[str, list[float]] = {"bare": [], "compare": []}
    for _ in range(REPEATS):
        for what, found in rates.items():
            found.append(timed(reference, candidate, windows[:64], what)["tokens_per_s"])
    bare, compare = (statistics.median(found) for found in rates.values())
    print(
        f"  throughput: {compare:.0f} of {bare:.0f} tokens/s of bare decoding "
        f"({compare / bare:.1%}), median of {REPEATS}",
        flush=True,
    )


def agreement(reference: Path, candidate: Path, windows: Sequence[Window]) -> None:
    """Means of both methods, their difference, and the standard error of the mean."""
    found = timed(reference, candidate, windows[:40], "agreement")
    ours, theirs = np.array(found["ours"]), np.array(found["theirs"])
    error = ours.std(ddof=1) / np.sqrt(len(ours))
    print(
        f"  agreement: ours {ours.mean():.6f}, perplexity tool's method {theirs.mean():.6f}, "
        f"difference {theirs.mean() - ours.mean():+.2e}, standard error of the mean {error:.2e}",
        flush=True,
    )


def tokens(model: Model) -> None:
    """The rounds, then the sweep, with the same ledger: what is known is not read twice, and the
    count is of what each needs.
    """
    session = Session(machine=probe_machine(), ledger=Ledger())
    constraints = Constraints(tier=TIERS["balanced"], min_tokens_per_s=None)
    settings = ContextSettings(n_ctx=min(4096, model.shape.n_ctx_train or 4096))
    rounds = tune_at(session, model, settings, constraints)
    mix = next((c.types for c in rounds.candidates if c.types), {})  # the same candidates for both
    sweep = tune_at(session, model, settings, constraints, Effort(sweep=True), mix=mix)
    taken = [d.chosen.name if d.chosen else None for d in (rounds, sweep)]
    print(
        f"  tokens: {rounds.tokens_evaluated:,} of {sweep.tokens_evaluated:,} "
        f"({rounds.tokens_evaluated / sweep.tokens_evaluated:.1%}); "
        f"rounds take {taken[0]}, the sweep {taken[1]}",
        flush=True,
    )


def main() -> None:
    """Print machine, versions and a line for each part."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", nargs="*", type=Path)
    parser.add_argument("--only", default=",".join(PARTS))
    asked = parser.parse_args()
    wanted = asked.only.split(",")
    print(
        f"{probe_machine().cpu.model}, {os.cpu_count()} cores, Python {platform.python_version()}, "
        f"{lab_build()}"
    )
    for path in asked.models or [embedded_model()]:
        model, session = read_model(path), Session(machine=probe_machine(), ledger=Ledger())
        print(path.name, flush=True)
        if set(wanted) - {"tokens"}:
            (recipe,) = plan_presets(model, ["Q4_K_M"])
            candidate = Levels(session, model).built(recipe).path
            windows = windows_of(session, model, parts=("test",))
        if "coverage" in wanted:
            (rows,) = Lab().compare(path, [candidate], [w.as_json() for w in windows])
            coverage(rows, [w.domain for w in windows])
        if "throughput" in wanted:
            throughput(path, candidate, windows)
        if "agreement" in wanted:
            agreement(path, candidate, windows)
        if "tokens" in wanted:
            tokens(model)


if __name__ == "__main__":
    if "--child" in sys.argv:
        child()
    else:
        with tempfile.TemporaryDirectory() as scratch:
            os.environ["XDG_DATA_HOME"] = os.environ["XDG_CACHE_HOME"] = scratch
            main()
