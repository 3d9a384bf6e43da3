"""A ledger as version 0.1 of hakaru wrote it, and the questions whose answers it holds.

The rows stand in `old_ledger.json`: they were measured once, on the model that `write_tiny_llama`
makes, with the engine's build called BUILD on the machine MACHINE. Nobody writes these rows again.
Code that moves or is rewritten is held to the keys under which they were stored: a changed key
would have every person measure anew.
"""

import json
import sqlite3
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, NoReturn

import numpy as np
import pytest

from hakaru.evaluation.answers import graded_answers
from hakaru.evaluation.losses import divergences, noise_floor, windows_of
from hakaru.evaluation.tasks import Item, named_tasks
from hakaru.evaluation.timing import Timing
from hakaru.evaluation.windows import Window
from hakaru.hardware.machine import Cpu, Device, Machine, Memory
from hakaru.memory.settings import ContextSettings
from hakaru.models.model import Model
from hakaru.planning.learned import known_driver_bytes
from hakaru.planning.timed_here import timed_files
from hakaru.quantization.build import plan_presets
from hakaru.quantization.levels import Levels
from hakaru.quantization.sensitivity import Sensitivities
from hakaru.quantization.study.probing import known_sums
from hakaru.quantization.study.recipe_speed import recipe_speed
from hakaru.quantization.study.study import Study
from hakaru.quantization.study.type_errors import type_errors
from hakaru.session import Session
from speeds import speed_of

ROWS: Final = Path(__file__).with_name("old_ledger.json")
BUILD: Final = "llama.cpp of the old ledger"
SOURCE_SHA256: Final = "5" * 64
GIB: Final = 2**30
MACHINE: Final = Machine(
    system="Linux of the old ledger",
    cpu=Cpu(
        model="A processor", architecture="x86_64", physical_cores=2, logical_cores=2,
        usable_cores=2, threads=2, instruction_sets=(),
    ),
    memory=Memory(total_bytes=8 * GIB, available_bytes=4 * GIB),
    devices=(),
)  # fmt: skip
GPU: Final = Device(name="A card", vendor="nvidia", total_bytes=8 * GIB, free_bytes=8 * GIB)
SETTINGS: Final = ContextSettings(n_ctx=512)
WINDOWS: Final = [Window(domain="code", tokens=tuple(range(1, 17)), first=3)]
RECIPES: Final = [{"blk.0.ffn_up.weight": "Q4_K"}, {"blk.1.attn_q.weight": "Q3_K"}]
NAMES: Final = ("blk.0.ffn_up.weight", "blk.1.attn_q.weight")
SPEED: Final = speed_of(50.0)


class NoEngine:
    """In the place of the engine: whoever calls it has not found what the ledger holds."""

    def __getattr__(self, name: str) -> NoReturn:
        raise AssertionError(
            f"the engine was asked for {name}, although the ledger knows the answer"
        )


def pin_builds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have every module call the engine's build BUILD."""
    for name, module in list(sys.modules.items()):
        for function in ("lab_build", "server_build"):
            if name.startswith("hakaru.") and hasattr(module, function):
                monkeypatch.setattr(module, function, lambda: BUILD)


def give_hash(ledger: Path, model: Path) -> None:
    """Say in the ledger that the file `model` has the hash SOURCE_SHA256, whatever its bytes are
    today.
    """
    stat = model.stat()
    with sqlite3.connect(ledger) as db:
        row = (str(model.resolve()), stat.st_size, stat.st_mtime_ns, SOURCE_SHA256)
        db.execute("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?)", row)
    db.close()


def write_old_ledger(path: Path, *, left_out: str | None = None) -> None:
    """The SQLite file of then, with its rows but those of the kind `left_out`."""
    content = json.loads(ROWS.read_text(encoding="utf-8"))
    with sqlite3.connect(path) as db:
        db.executescript(content["schema"])
        for table, rows in content["tables"].items():
            for row in rows:
                if left_out and row.get("kind") == left_out:
                    continue
                places = ", ".join("?" * len(row))
                db.execute(
                    f"INSERT INTO {table} ({', '.join(row)}) VALUES ({places})", tuple(row.values())
                )
    db.close()


def items() -> list[Item]:
    """Two of our own tasks."""
    return list(named_tasks(["ours"], "en").items[:2])


def recipe(model: Model) -> Any:
    """The recipe of Q4_K_M."""
    return plan_presets(model, ["Q4_K_M"])[0]


def sensitivities() -> Sensitivities:
    """What probes of two tensors might have taught."""
    return Sensitivities(names=NAMES, log_mean=np.zeros(2), log_cov=np.eye(2))


Question = Callable[[Session, Model, Study], object]

QUESTIONS: Final[Mapping[str, Question]] = {
    "build": lambda session, model, study: Levels(session, model).known_sha256(recipe(model)),
    "windows": lambda session, model, study: windows_of(
        session, model, parts=("test",), n_documents=0, n_prompts=1, ask=False
    ),
    "divergence": lambda session, model, study: divergences(
        session, {SOURCE_SHA256: model.path}, model, WINDOWS, n=1
    ),
    "noise floor": lambda session, model, study: noise_floor(session, model, WINDOWS),
    "trial": lambda session, model, study: Timing(session=session).trial(
        model, SETTINGS, repeats=2
    ),
    "pace": lambda session, model, study: timed_files(session.ledger, session.machine),
    "deep": lambda session, model, study: Timing(session=session).deep(model, SETTINGS, SPEED, 256),
    "loads": lambda session, model, study: Timing(session=session).loads(model, SETTINGS, SPEED),
    "answers with their ends": lambda session, model, study: graded_answers(
        session, model, items(), SETTINGS
    ),
    "quantization errors": lambda session, model, study: type_errors(study, None),
    "probes": lambda session, model, study: known_sums(study, RECIPES, WINDOWS, None, "probes"),
    "runs": lambda session, model, study: known_sums(study, RECIPES, WINDOWS, None, "runs"),
    "single tensors": lambda session, model, study: known_sums(
        study, RECIPES[:1], WINDOWS, None, "single tensors"
    ),
    "race": lambda session, model, study: known_sums(study, RECIPES, WINDOWS, None, "race"),
    "speed of a recipe": lambda session, model, study: recipe_speed(
        study, RECIPES[0], None, SETTINGS
    ),
    "prior before probes": lambda session, model, study: study.priors.before_probes(NAMES),
    "sensitivities of kin": lambda session, model, study: study.priors.of(NAMES),
    "sensitivities": lambda session, model, study: study.priors.of(NAMES[:1]),
    "driver": lambda session, model, study: known_driver_bytes(session.ledger, [GPU.name]),
}
"""By the kind of a row, the question that finds it."""
