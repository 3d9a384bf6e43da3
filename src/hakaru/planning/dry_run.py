"""The check before anything is loaded: memory by arithmetic and by the engine's dry run, side by
side, both remembered.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from msgspec import Struct
from msgspec.structs import replace

from hakaru.engine.builds import lab_build, server_build
from hakaru.hardware.accelerators import nvidia_process_bytes
from hakaru.hardware.machine import Machine
from hakaru.ledger import Ledger
from hakaru.memory.footprint import Footprint, compute_footprint, overhead_bytes
from hakaru.memory.settings import ContextSettings
from hakaru.models.model import Model
from hakaru.planning.backends import backend_name, with_conversions
from hakaru.planning.learned import remember_driver

if TYPE_CHECKING:  # `hakaru fit` starts no server
    from hakaru.engine.server import EngineServer


class Engine(Protocol):
    """What a check needs of the engine."""

    def dry_run(self, path: Path, settings: ContextSettings) -> Footprint: ...


class Check(Struct, frozen=True, kw_only=True):
    """A model's memory, computed and dry-run, side by side. `computed` is None for an architecture
    that we do not model.
    """

    computed: Footprint | None
    dry_run: Footprint

    @property
    def best(self) -> Footprint:
        """The one to trust: the engine's own."""
        return self.dry_run


def check_memory(
    model: Model,
    settings: ContextSettings,
    *,
    machine: Machine,
    ledger: Ledger | None,
    engine: Engine,
) -> Check:
    """Compute and dry-run the memory of `model`. Without a ledger nothing is remembered.

    Raises ModelUnknown or ModelDamaged if llama.cpp cannot load the model.
    """
    computed = compute_footprint(model.shape, model.loaded, settings)
    dry_run = dry_run_at(model.path, model, settings, engine=engine)
    if ledger:
        remember((computed, dry_run), model, settings, machine=machine, ledger=ledger)
    return Check(computed=computed, dry_run=dry_run)


class RememberedDryRuns(Struct, frozen=True, kw_only=True):
    """The engine's dry runs on a machine without accelerators, each asked for once and kept in the
    ledger: an unchanged file at the same settings is laid out in the same way. (Over accelerators
    the layers lie as the memory is free now.)
    """

    engine: Engine
    ledger: Ledger

    def dry_run(self, path: Path, settings: ContextSettings) -> Footprint:
        """What the engine would allocate, or found that it would."""
        file = path.stat()
        inputs = {
            "path": str(path.resolve()),
            "file": [file.st_size, file.st_mtime_ns, file.st_ctime_ns, file.st_ino],
            "settings": settings.as_json(),
            "engine": lab_build(),
        }
        if parts := self.ledger.recall("dry_run", inputs):
            return Footprint(**parts, source="dry_run")
        footprint = self.engine.dry_run(path, settings)
        if not footprint.accelerators:
            self.ledger.remember("dry_run", inputs, footprint.parts())
        return footprint


def dry_run_at(path: Path, model: Model, settings: ContextSettings, *, engine: Engine) -> Footprint:
    """The engine's own figures for `model`, laid out from the file at `path`, and our assumption
    for the process around it.
    """
    laid_out = with_conversions(engine.dry_run(path, settings), model.shape, settings)
    return replace(laid_out, overhead_bytes=overhead_bytes(model.shape, settings))


def remember(
    footprints: Iterable[Footprint | None],
    model: Model,
    settings: ContextSettings,
    *,
    machine: Machine,
    ledger: Ledger,
) -> None:
    """Store what was computed and dry-run for `model`, so that it can be held against what really
    happens.
    """
    for footprint in footprints:
        if footprint:
            ledger.remember_memory(
                footprint,
                machine=machine.fingerprint,
                model=model.layout_digest,
                settings=settings,
                architecture=model.shape.architecture,
                engine=lab_build(),
                backend=backend_name(footprint) if footprint.source == "dry_run" else None,
            )


def remember_load(
    server: "EngineServer",
    model: Model,
    *,
    machine: Machine,
    ledger: Ledger,
    peak_rss_bytes: int | None = None,
) -> None:
    """Store what a real load allocated, and what the GPUs' driver took for it. The peak is None for
    a process that still runs; context checkpoints are taken out of it, since no dry run predicts
    them (memory/growth.py counts them).
    """
    ledger.remember_memory(
        server.log.footprint(),
        machine=machine.fingerprint,
        model=model.layout_digest,
        settings=server.settings,
        architecture=model.shape.architecture,
        engine=server_build(),
        peak_rss_bytes=peak_rss_bytes - server.log.grown_bytes() if peak_rss_bytes else None,
        backend=server.log.backend(),
    )
    remember_driver(ledger, nvidia_process_bytes(server.engine_pid), server.log.accelerator_bytes())
