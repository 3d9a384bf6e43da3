"""How long `hakaru choose` takes, and whether what it recommends really fits, beside llmfit.

`python benchmarks/choose.py [--llmfit PROGRAM]` prints one row for each of twelve machines: seconds
of a cold start and of processor time, the recommended row, and its verdict by `hakaru fit` with the
engine's dry run. Of llmfit, which takes a card's memory and RAM in place of a machine's, the first
row is judged that is a model and a type of our catalogue; machines of several cards, and those with
one memory, it is not asked for.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import hakaru
from hakaru.models.catalogue import known_models
from hakaru.selection.catalogue_sizes import TYPES

RUNS: Final = 3
FIT_CONTEXT: Final = 8192


@dataclass(frozen=True)
class Place:
    """A machine, as we name it and by the sizes that llmfit takes: of its card and its RAM."""

    named: dict[str, str]
    card_gib: int = 0
    ram_gib: int = 0


PLACES: Final = (
    Place({"hardware": "12GiB RAM"}),
    Place({"hardware": "RTX 3060 12GB + 32GiB RAM"}, 12, 32),
    Place({"hardware": "RTX 4090 + 64GiB RAM"}, 24, 64),
    Place({"hardware": "2x RTX 3090 + 64GiB RAM"}),
    Place({"hardware": "L4 + 16GiB RAM"}, 24, 16),
    Place({"hardware": "2x L4"}),
    Place({"hardware": "A100 80GB + 64GiB RAM"}, 80, 64),
    Place({"hardware": "2x A100 80GB"}),
    Place({"hardware": "H100 + 64GiB RAM"}, 80, 64),
    Place({"hardware": "M2 16GB"}),
    Place({"hardware": "M4 Max 64GB"}),
    Place({"hardware": "Strix Halo 128GB"}),
)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--llmfit", help="the program, in a virtual environment of its own")
    peer = parser.parse_args().llmfit
    print(f"{'machine':<28}{'s':>6}{'CPU s':>7}  recommended, verdict")
    failed = 0
    for place in PLACES:
        seconds, processor = fastest(place)
        row = hakaru.choose("chat", **place.named).recommended  # type: ignore[arg-type]
        assert row
        verdict = judged(place, row.model.id, row.type, row.n_ctx, row.cache)
        failed += verdict != "fits"
        name = next(iter(place.named.values()))
        print(f"{name:<28}{seconds:>6.2f}{processor:>7.2f}  {row.model.id} {row.type}, {verdict}")
        if peer and place.card_gib:
            print(f"{'  llmfit':<28}{asked(Path(peer), place)}")
    print(f"rows that do not fit: {failed} of {len(PLACES)}")


def fastest(place: Place) -> tuple[float, float]:
    """Seconds of the fastest of some cold starts, and the processor time of it."""
    option, value = next(iter(place.named.items()))
    program = Path(sys.executable).with_name("hakaru")
    times = []
    for _ in range(RUNS):
        before, start = os.times(), time.perf_counter()
        subprocess.run([program, "choose", f"--{option}", value], check=True, capture_output=True)
        after = os.times()
        used = sum(after[2:4]) - sum(before[2:4])
        times.append((time.perf_counter() - start, used))
    return min(times)


def judged(place: Place, model: str, type_: str, n_ctx: int, cache: str) -> str:
    """The verdict of `fit`, which asks the engine for its dry run as well."""
    answer = hakaru.fit(
        model, preset=type_, n_ctx=n_ctx, type_k=cache, type_v=cache, source="both",
        **place.named,  # type: ignore[arg-type]
    )  # fmt: skip
    assert answer.dry_run
    return answer.verdict


def asked(program: Path, place: Place) -> str:
    """Time, row and verdict of llmfit."""
    command = [
        str(program), "--memory", f"{place.card_gib}G", "--ram", f"{place.ram_gib}G",
        "--max-context", str(FIT_CONTEXT), "--json", "recommend", "--limit", "200",
    ]  # fmt: skip
    start = time.perf_counter()
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    seconds = time.perf_counter() - start
    rows: list[dict[str, Any]] = json.loads(done.stdout)["models"]
    by_repo = {model.hf_repo.lower(): model for model in known_models()}
    for i, row in enumerate(rows, start=1):
        model, type_ = by_repo.get(row["name"].lower()), row.get("best_quant")
        if model and type_ in TYPES:
            verdict = judged(place, model.id, type_, FIT_CONTEXT, "f16")
            return f"{seconds:>6.2f}         row {i}: {model.id} {type_}, {verdict}"
    return f"{seconds:>6.2f}         first: {rows[0]['name']}; none of {len(rows)} is ours"


if __name__ == "__main__":
    main()
