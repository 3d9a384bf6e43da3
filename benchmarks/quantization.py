"""Our mixes against the best presets of at most the same bytes, on texts that no step has seen; and
how far predictions are from measurements.

    python benchmarks/quantization.py [MODEL.gguf ...] [--effort standard] [--json FILE]

Without a model it takes the one that comes with hakaru. Six budgets from 3.0 to 6.5 bits per
weight, or from the smallest preset where that is larger. The rivals have the same importance data
and bytes:

- preset: of the two presets that are predicted to lose least, the one that does on these texts;
- two types: the largest type that fits everywhere, and the next larger type for as many tensors as
  fit, from the first layer on;
- errors only: our solver on plain relative errors, without probes; it may copy where our mix may.

Everything is computed in a loaded model (probes), so no model is written. `filled` is the planned
file over the budget. Then random mixes are predicted and measured on the same texts.

A tensor that keeps its type is copied and loses nothing, which flatters whoever copies more. So
where our mix copies tensors a second row follows, without copies on either side: the best mix of
these bytes that copies nothing, and the best preset that copies no layer.
"""

import argparse
import json
import os
import platform
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from statistics import median

import numpy as np
from scipy.stats import spearmanr

from hakaru.engine.builds import lab_build
from hakaru.evaluation.statistics import paired_ratio
from hakaru.formats.imatrix import Imatrix
from hakaru.hardware.probe import probe_machine
from hakaru.ledger import Ledger
from hakaru.models.embedded import embedded_model
from hakaru.models.model import read_model
from hakaru.quantization.allocate import allocate
from hakaru.quantization.file_bytes import budget_bytes
from hakaru.quantization.hull import items_of
from hakaru.quantization.plan import Plan, fixed_bytes, plan_recipe
from hakaru.quantization.probes import Effort, uniform_recipes
from hakaru.quantization.quiet import stdout_muted
from hakaru.quantization.race import race, rival_presets
from hakaru.quantization.study.calibration import importance
from hakaru.quantization.study.linking import measured_link
from hakaru.quantization.study.probing import probed
from hakaru.quantization.study.study import Study
from hakaru.quantization.study.type_errors import type_errors
from hakaru.quantization.target import Target
from hakaru.session import Session

LOWEST, HIGHEST, N_BUDGETS, N_MIXES = 3.0, 6.5, 6, 30


def one_model(path: Path, effort: Effort) -> dict[str, object]:
    """Races at every budget, then random mixes."""
    model, began = read_model(path), time.perf_counter()
    study = Study(Session(machine=probe_machine(), ledger=Ledger()), model, effort)
    imatrix = importance(study)
    print(
        f"\n{path.name}: {len(study.calibration)} + {len(study.validation)} + "
        f"{len(study.test)} windows, effort {effort}"
    )
    print(
        "bpw   copied  filled    preset    preset KLD  ours     ratio              two types  "
        "errors only  predicted (interval)       seconds"
    )
    rows, ratios = list[dict[str, object]](), list[float]()  # ratios: without copies
    for bpw in budgets(study, imatrix):
        n_bytes = budget_bytes(model.n_params, f"{bpw:.2f}")
        for copies in (True, False):
            if copies and n_bytes >= model.file_bytes:
                continue  # the source itself is the answer
            plan = plan_recipe(study, Target(file_bytes=n_bytes, copies=copies), imatrix=imatrix)
            if copies and not study.choices.copied(plan.types):
                continue  # the row without copies is the same
            row, ratio = one_row(study, imatrix, plan, bpw, began)
            rows.append(row)
            if not row["copied"]:
                ratios.append(ratio)
    print(
        f"median ratio {median(ratios):.2f}, worst {max(ratios):.2f}, over {len(ratios)} budgets, "
        "without copies"
    )
    return {"budgets": rows, "mixes": random_mixes(study, imatrix)}


def one_row(
    study: Study, imatrix: Imatrix, plan: Plan, bpw: float, began: float
) -> tuple[dict[str, object], float]:
    """The race of one plan and of the other rivals, printed and as JSON; and our loss over the best
    preset's.
    """
    raced, seconds = race(study, plan), time.perf_counter() - began
    rivals = {
        "two types": two_types(study, plan, imatrix),
        "errors only": errors_only(study, plan, imatrix),
    }
    sums = probed(study, [plan.types, *rivals.values()], study.test, imatrix, "rivals")
    ours, *others = [[window["kld"] for window in windows] for windows in sums]
    ratios = {
        name: paired_ratio(ours, theirs)[0] for name, theirs in zip(rivals, others, strict=True)
    }
    assert raced.rival is not None
    assert raced.ratio is not None
    row: dict[str, object] = {
        "bpw": bpw, "copied": len(study.choices.copied(plan.types)),
        "filled": plan.file_bytes / plan.budget_bytes, "ours": raced.ours.value,
        "preset": raced.rival.recipe.preset, "preset_kld": raced.rival.kld.value,
        "ratio": raced.ratio.as_json(), "predicted": plan.predicted.as_json(),
        "rivals": {name: ratio.as_json() for name, ratio in ratios.items()}, "seconds": seconds,
    }  # fmt: skip
    ratio = f"{raced.ratio.value:.2f} [{raced.ratio.low:.2f}…{raced.ratio.high:.2f}]"
    print(
        f"{bpw:.2f}  {row['copied']:<6}  {row['filled']:.5f}   {raced.rival.recipe.preset:<8}  "
        f"{raced.rival.kld.value:.5f}     {raced.ours.value:.5f}  {ratio}   "
        f"{ratios['two types'].value:.2f}       {ratios['errors only'].value:.2f}         "
        f"{plan.predicted.value:.5f} [{plan.predicted.low:.5f}…{plan.predicted.high:.5f}]   "
        f"{seconds:.0f}",
        flush=True,
    )
    return row, raced.ratio.value


def budgets(study: Study, imatrix: Imatrix) -> list[float]:
    """Bits per weight, evenly spread from the smallest preset that can be measured, or 3.0,
    to 6.5.
    """
    presets = rival_presets(
        study, type_errors(study, imatrix), imatrix, at_most=2**62, copies=False
    )
    smallest = min(study.file_bytes(preset.types, imatrix) for preset in presets)
    lowest = max(LOWEST, np.ceil(100 * 8 * smallest / study.model.n_params + 1) / 100)
    return [float(bpw) for bpw in np.linspace(lowest, HIGHEST, N_BUDGETS)]


def two_types(study: Study, plan: Plan, imatrix: Imatrix) -> dict[str, str]:
    """The largest one type that fits the plan's bytes; then the next larger one for as many
    tensors, in order, as fit.
    """

    def n_bytes(types: Mapping[str, str]) -> int:
        return study.file_bytes(types, imatrix)

    choices = study.choices.offered(plan.errors, copies=False)
    types = sorted({type_ for row in choices.values() for type_ in row})
    ladder = sorted(uniform_recipes(choices, types).values(), key=n_bytes)
    small = [recipe for recipe in ladder if n_bytes(recipe) <= plan.budget_bytes][-1]
    large = next(recipe for recipe in ladder if n_bytes(recipe) > plan.budget_bytes)
    names, mixed = list(small), 0
    while (
        n_bytes({**small, **{name: large[name] for name in names[: mixed + 1]}})
        <= plan.budget_bytes
    ):
        mixed += 1
    return {**small, **{name: large[name] for name in names[:mixed]}}


def errors_only(study: Study, plan: Plan, imatrix: Imatrix) -> dict[str, str]:
    """What the solver takes where every tensor's sensitivity is the same: the least sum of relative
    errors.
    """
    items = items_of(
        study.tensors,
        study.choices.offered(plan.errors, copies=plan.target.copies),
        dict.fromkeys(plan.errors, 1.0),
    )
    with stdout_muted():
        return allocate(
            items, plan.budget_bytes, fixed_bytes=fixed_bytes(study, plan.errors, imatrix)
        ).types


def random_mixes(study: Study, imatrix: Imatrix) -> dict[str, float]:
    """How well the KLD of random mixes is predicted. A mix aims at one error: every tensor draws
    one of the three types next to it. So mixes have all sizes.
    """
    random, errors = np.random.default_rng(0), type_errors(study, imatrix)
    choices, link, mixes = (
        study.choices.offered(errors, copies=False),
        measured_link(study, errors, imatrix),
        list[dict[str, str]](),
    )
    for error in np.geomspace(1e-4, 0.1, N_MIXES):
        mix = {}
        for name, row in choices.items():
            near = sorted(row, key=lambda type_: abs(np.log(max(row[type_], 1e-9) / error)))[:3]
            mix[name] = str(random.choice(near))
        mixes.append(mix)
    sums = probed(study, mixes, study.test, imatrix, "random mixes")
    measured = np.array([sum(r["kld"] for r in rows) / sum(r["n"] for r in rows) for rows in sums])
    predicted = [link.predict(mix) for mix in mixes]
    inside = [p.lowest <= m <= p.highest for p, m in zip(predicted, measured, strict=True)]
    summary = {
        "rank_correlation": float(spearmanr([p.value for p in predicted], measured).statistic),
        "median_log_ratio": float(
            np.median(np.abs(np.log([p.value for p in predicted] / measured)))
        ),
        "inside": sum(inside) / len(inside), "lowest": float(measured.min()),
        "highest": float(measured.max()),
    }  # fmt: skip
    print(
        f"{len(mixes)} random mixes of KLD {summary['lowest']:.5f} to {summary['highest']:.5f}: "
        f"rank correlation {summary['rank_correlation']:.3f}, median |log ratio| "
        f"{summary['median_log_ratio']:.3f}, {sum(inside)} within their interval",
        flush=True,
    )
    return summary


def main() -> None:
    """Print machine, versions and the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", nargs="*", type=Path)
    parser.add_argument("--effort", choices=["quick", "standard", "thorough"], default="standard")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    print(
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, Python "
        f"{platform.python_version()}, {lab_build()}"
    )
    results = {
        str(path): one_model(path, options.effort) for path in options.models or [embedded_model()]
    }
    if options.json:
        options.json.write_text(json.dumps(results, indent=1), encoding="utf-8")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["XDG_DATA_HOME"] = os.environ["XDG_CACHE_HOME"] = scratch
        main()
