"""Does it fit at these settings: a model, as it is or at a preset that nobody has built yet, on
this machine or on a named one.

Our arithmetic answers for any hardware; the engine's dry run lays the same model out here, from its
header alone, and stands beside it. On this machine without an accelerator the engine's figures
decide; everywhere else ours do, placed device by device. An architecture that we do not model is
placed by its tensor table and the dry run's sums (see `planning.unmodelled`).
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Literal

from hakaru.errors import ModelUnknown
from hakaru.formats.header_file import without_vocabulary, write_header_only
from hakaru.hardware.machine import Hardware, Machine
from hakaru.ledger import Ledger
from hakaru.memory.footprint import Footprint, compute_footprint
from hakaru.memory.settings import ContextSettings
from hakaru.models.hyperparameters import with_architecture, without_architecture
from hakaru.models.model import Model, as_preset
from hakaru.places import passing_dir
from hakaru.planning.answer import Fit
from hakaru.planning.dry_run import Engine, dry_run_at, remember
from hakaru.planning.extras import Beside, nothing
from hakaru.planning.learned import errors
from hakaru.planning.placed import placed
from hakaru.planning.variations import Variations

FigureSource = Literal["computed", "dry-run", "both"]


def fit_at(
    model: Model,
    settings: ContextSettings,
    *,
    machine: Machine,
    ledger: Ledger | None,
    engine: Engine,
    hardware: Hardware | None = None,
    source: FigureSource = "both",
    find_max: bool = False,
    preset: str | None = None,
    beside: Beside = nothing,
    n_gpu_layers: int | None = None,
) -> Fit:
    """Whether `model` fits `hardware`; None is this `machine`, with the memory that is free now.

    `ledger` teaches the margin and remembers the figures; without one the margin is assumed.
    `source` says whose figures are asked for, `preset` that the model is judged as it would be at
    this preset, `beside` what is loaded with it, `n_gpu_layers` how many layers lie on
    accelerators (see `placement.Task`). Raises ModelUnknown where neither our arithmetic nor the
    engine knows the architecture.
    """
    variant = as_preset(model, preset) if preset else model
    computed = _computed(variant, settings, source)
    ask = partial(_dry_run, variant, engine=engine, on_disk=preset is None)
    dry_run = ask(settings) if source != "computed" else None
    if ledger:
        remember((computed, dry_run), variant, settings, machine=machine, ledger=ledger)
    planned = placed(
        variant,
        settings,
        machine=machine,
        ledger=ledger,
        lessons=errors(ledger.memory_rows()) if ledger else [],
        hardware=hardware,
        uses_gpu=bool(dry_run.accelerator_bytes) if dry_run else machine.has_gpu,
        computed=computed,
        dry_run=dry_run,
        beside=beside,
        n_gpu_layers=n_gpu_layers,
    )
    variations = Variations(
        model=variant, task=planned.task, hardware=planned.hardware, ask=None if computed else ask
    )
    verdict = planned.placement.verdict
    return Fit(
        model=variant, settings=planned.settings, hardware=planned.hardware,
        computed=computed if source != "dry-run" else None, dry_run=dry_run,
        placement=planned.placement, verdict=verdict, margin=planned.margin,
        alternatives=() if verdict == "fits" else tuple(variations.ways_out()),
        max_context=variations.longest_context() if find_max else None, extras=beside(settings),
        is_modelled=computed is not None,
    )  # fmt: skip


def _computed(model: Model, settings: ContextSettings, source: FigureSource) -> Footprint | None:
    """What our arithmetic says; None for an architecture that it does not know. Raises ModelUnknown
    where only our arithmetic was asked for.
    """
    computed = compute_footprint(model.shape, model.loaded, settings)
    if computed is None and source == "computed":
        raise ModelUnknown(
            "{path}: hakaru has no arithmetic for the architecture '{found}'; ask the engine: "
            "`source` dry-run.",
            path=model.path,
            found=model.shape.architecture,
        )
    return computed


def _dry_run(
    model: Model, settings: ContextSettings, *, engine: Engine, on_disk: bool
) -> Footprint:
    """The engine's own figures, with our assumption for the process around it; a model that is not
    on disk is laid out from a header written for the purpose.
    """
    with nullcontext(model.path) if on_disk else _laid_out(model) as path:
        return dry_run_at(path, model, settings, engine=engine)


@contextmanager
def _laid_out(model: Model) -> Iterator[Path]:
    """A file that is only the header of `model`, followed by a hole; removed afterwards."""
    name = model.shape.architecture
    kept = with_architecture(name, without_architecture(name, model.metadata))
    with tempfile.TemporaryDirectory(prefix="hakaru-", dir=passing_dir()) as folder:
        tensors = [(t.name, t.shape) for t in model.tensors]
        types = {t.name: t.type.name for t in model.tensors}
        values = without_vocabulary(kept, model.shape.n_vocab)
        yield write_header_only(Path(folder) / f"{model.path.stem}.gguf", values, tensors, types)
