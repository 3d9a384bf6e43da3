"""How many plans come per second without the engine: model x type x context x hardware, from
hyperparameters to a verdict.

Everything counts from the catalogue's numbers on: the tensor table and the roster of each model,
the types and bytes of each preset, and a placement for each context and machine. A round begins
without what an earlier one has remembered.
"""

import cProfile
import pstats
import statistics
import time
from typing import Any, Final

from msgspec.structs import replace

from hakaru.formats.header_file import header_tensors
from hakaru.formats.metadata import Metadata
from hakaru.hardware.machine import Hardware
from hakaru.hardware.named_machine import parse_hardware
from hakaru.memory.compute import device_compute
from hakaru.memory.schedule import schedule
from hakaru.memory.settings import ContextSettings
from hakaru.models.architectures import loaded
from hakaru.models.catalogue import KnownModel, known_models
from hakaru.models.mixture import preset_types
from hakaru.models.roster import quantizer_facts, roster
from hakaru.planning.load import load_of
from hakaru.planning.placement import Task
from hakaru.planning.search import place
from hakaru.planning.shares import Placement

MODELS: Final = (
    "llama-3.2-1b-instruct", "qwen3-8b", "llama-3.1-8b-instruct", "mistral-nemo-instruct-2407",
    "phi-4", "qwen3-32b", "gemma-3-27b-it", "llama-3.3-70b-instruct", "gpt-oss-20b",
    "qwen3-30b-a3b",
)  # fmt: skip
PRESETS: Final = (
    "F16",
    "Q8_0",
    "Q6_K",
    "Q5_K_M",
    "Q4_K_M",
    "Q4_K_S",
    "IQ4_XS",
    "Q3_K_M",
    "Q3_K_S",
    "Q2_K",
)
CONTEXTS: Final = (4096, 8192, 16384, 32768, 131072)
MACHINES: Final = ("RTX 4090 + 64GiB RAM", "2x A100 80GB")
ROUNDS: Final = 5


def report() -> dict[str, Any]:
    """Time rounds, print the median and the worst and where the time goes; return them for
    `--json`.
    """
    machines = [parse_hardware(name) for name in MACHINES]
    models = [known for known in known_models() if known.id in MODELS]
    _round(models[:1], machines)  # modules and tables are read
    times, verdicts = [], []
    for _ in range(ROUNDS):
        began = time.perf_counter(), time.process_time()
        verdicts = [plan.verdict for plan in _round(models, machines)]
        times.append((time.perf_counter() - began[0], time.process_time() - began[1]))
    wall, cpu = ([1000 * t / len(verdicts) for t in of] for of in zip(*times, strict=True))
    print(
        f"{len(verdicts)} plans: {len(models)} models x {len(PRESETS)} types x {len(CONTEXTS)} "
        f"contexts x {len(machines)} machines;"
    )
    print(", ".join(f"{verdicts.count(v)} {v}" for v in ("fits", "tight", "does_not_fit")))
    print(
        f"1,000 plans: median {statistics.median(wall):.2f} s, worst {max(wall):.2f} s of "
        f"{ROUNDS} rounds",
        end="; ",
    )
    print(f"processor time {statistics.median(cpu):.2f} s")
    _profile(models, machines)
    return {"n_plans": len(verdicts), "seconds": [t for t, _ in times]}


def _round(models: list[KnownModel], machines: list[Hardware]) -> list[Placement]:
    device_compute.cache_clear()
    schedule.cache_clear()
    return [plan for known in models for plan in _plans(known, machines)]


def _plans(known: KnownModel, machines: list[Hardware]) -> list[Placement]:
    meta = Metadata(known.id, known.metadata())
    shapes = list(known.tensors())
    members = roster(quantizer_facts(meta), header_tensors(shapes))
    shape, plans = known.shape, []
    for preset in PRESETS:
        tensors = header_tensors(shapes, preset_types(members, preset))
        task = Task(
            load=load_of(loaded(meta, tensors), shape.n_layer),
            shape=shape,
            settings=ContextSettings(n_ctx=CONTEXTS[0]),
        )
        for n_ctx in CONTEXTS:
            at_context = replace(task, settings=task.settings.with_context(n_ctx))
            plans += [place(at_context, machine) for machine in machines]
    return plans


def _profile(models: list[KnownModel], machines: list[Hardware]) -> None:
    """The functions of ours that take the most time by themselves."""
    profile = cProfile.Profile()
    profile.runcall(_round, models, machines)
    rows: dict[Any, Any] = pstats.Stats(profile).stats  # type: ignore[attr-defined]  # undocumented, and stable since 2.5
    total = sum(row[2] for row in rows.values())
    print("where the time goes, by the function's own time:")
    for (file, _, function), row in sorted(rows.items(), key=lambda item: -item[1][2])[:8]:
        print(
            f"  {row[2] / total:>5.0%}  {row[0]:>9,} calls  "
            f"{file.rpartition('/hakaru/')[2]}:{function}"
        )
