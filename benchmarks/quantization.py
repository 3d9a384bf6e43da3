"""Our mixes against the best presets of at most the same bytes, at six budgets, on texts that no step has seen.

    python benchmarks/quantization.py [MODEL.gguf ...] [--effort standard] [--json FILE]

Without a model it takes the one that comes with hakaru. The preset has the same importance data. Everything is computed in a
loaded model (probes), so nothing is written. `filled` is the planned file over the budget.
"""

import argparse
import json
import os
import platform
import tempfile
import time
from importlib import metadata
from pathlib import Path
from statistics import median

from hakaru.hardware.probe import probe_machine
from hakaru.models.embedded import embedded_model
from hakaru.models.model import read_model
from hakaru.quantization.file_bytes import budget_bytes
from hakaru.tuning.bench import Bench
from hakaru.tuning.budget import Budgeter, Target
from hakaru.tuning.ledger import Ledger

BUDGETS = ("3.0", "3.6", "4.3", "5.0", "5.8", "6.5")


def one_model(path: Path, effort: str) -> list[dict[str, object]]:
    """Races at every budget that the model can have."""
    model, began = read_model(path), time.perf_counter()
    budgeter = Budgeter(Bench(machine=probe_machine(), ledger=Ledger()), model, effort)  # type: ignore[arg-type]  # argparse checked it
    imatrix = budgeter.importance()
    print(
        f"\n{path.name}: {len(budgeter.calibration)} + {len(budgeter.validation)} + {len(budgeter.test)} windows, effort {effort}"
    )
    print("bpw   filled    preset    preset KLD   ours       ratio               predicted (interval)              seconds")
    rows: list[dict[str, object]] = []
    for bpw in BUDGETS:
        try:
            plan = budgeter.plan(Target(file_bytes=budget_bytes(model.n_params, bpw)), imatrix=imatrix)
        except Exception as error:  # a budget that this model's rows do not allow
            print(f"{bpw}   {error}")
            continue
        race, seconds = budgeter.race(plan), time.perf_counter() - began
        row = {
            "bpw": bpw,
            "filled": plan.file_bytes / plan.budget_bytes,
            "ours": race.ours.value,
            "predicted": plan.predicted.as_json(),
        }
        if race.rival and race.ratio:
            row |= {"preset": race.rival.preset, "preset_kld": race.rival.kld.value, "ratio": race.ratio.as_json()}
            ratio = f"{race.ratio.value:.2f} [{race.ratio.low:.2f}…{race.ratio.high:.2f}]"
            print(f"{bpw}   {row['filled']:.5f}   {race.rival.preset:<8}  {race.rival.kld.value:.5f}      {race.ours.value:.5f}    {ratio}   "
                  f"{plan.predicted.value:.5f} [{plan.predicted.low:.5f}…{plan.predicted.high:.5f}]   {seconds:.0f}", flush=True)  # fmt: skip
        else:
            print(f"{bpw}   {row['filled']:.5f}   none                   {race.ours.value:.5f}", flush=True)
        rows.append(row)
    ratios = [r["ratio"]["value"] for r in rows if "ratio" in r]  # type: ignore[index]
    if ratios:
        print(f"median ratio {median(ratios):.2f}, worst {max(ratios):.2f}, over {len(ratios)} budgets")
    return rows


def main() -> None:
    """Print machine, versions and the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", type=Path)
    parser.add_argument("--effort", choices=["quick", "standard", "thorough"], default="standard")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, "
          f"llama-cpp-python {metadata.version('llama-cpp-python')}")  # fmt: skip
    found = {str(path): one_model(path, asked.effort) for path in asked.models or [embedded_model()]}
    if asked.json:
        asked.json.write_text(json.dumps(found, indent=1), encoding="utf-8")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["XDG_DATA_HOME"] = scratch
        main()
