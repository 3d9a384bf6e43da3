"""How wrong hakaru was on this machine: what `hakaru doctor` tells.

Every memory figure in the ledger is compared by architecture: our arithmetic with llama.cpp's dry
run, the dry run with what the log of a real load said, and the peak of the process with the
prediction.
"""

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, Final

from msgspec import Struct

from hakaru.engine.builds import lab_build, selection, server_build
from hakaru.engine.devices import devices_of
from hakaru.engine.unused import idle_gpu, narrow_vectors
from hakaru.errors import EngineMissing
from hakaru.hardware.machine import Machine
from hakaru.language import listed, say
from hakaru.planning.learned import PARTS, Error, Kind, Margin, errors, learned_margin
from hakaru.planning.machine_speed import errors_left_out
from hakaru.planning.timed_here import timed_files
from hakaru.session import Session

ROUNDED_BYTES: Final = 2**20 // 200
"""Half of 0.01 MiB, the last digit of llama.cpp's log: a smaller difference is not seen there."""


class Checkup(Struct, frozen=True, kw_only=True, dict=True):
    """The engines, and the errors of the predictions on this machine."""

    engines: dict[str, str | None]  # what measures (lab) and what serves; None: not installed
    ledger: str  # the path of its file
    machine: Machine
    errors: Sequence[Error]  # of this machine
    speed_errors: Sequence[float]  # of each timed file, as the others predict it
    usable_gpus: list[str] | None  # those that the engine can use; None where it has none to use

    @property
    def is_whole(self) -> bool:
        """Whether both engines are installed."""
        return all(self.engines.values())

    @cached_property
    def by_architecture(self) -> dict[str, list[Error]]:
        """The errors of each architecture, in the order of their names."""
        groups: dict[str, list[Error]] = {}
        for error in self.errors:
            groups.setdefault(error.architecture, []).append(error)
        return dict(sorted(groups.items()))

    @cached_property
    def summaries(self) -> dict[str, dict[str, Any]]:
        """The worst errors of each architecture."""
        return {name: summary(group) for name, group in self.by_architecture.items()}

    @cached_property
    def margins(self) -> list[Margin]:
        """What is kept free on the processor: a margin for each architecture that was loaded, or
        the one that is assumed for any.
        """
        loaded = [
            name
            for name, group in self.by_architecture.items()
            if any(error.excess is not None for error in group)
        ]
        kinds = [
            Kind(
                machine=self.machine.fingerprint,
                backend="cpu",
                architecture=name,
                alone=not self.machine.devices,
            )
            for name in loaded or [""]
        ]
        return [learned_margin(self.errors, kind) for kind in kinds]

    def unused(self) -> str | None:
        """What the machine has and the engine does not use, in a sentence; or which GPU it uses."""
        if not self.is_whole:
            return None
        if self.usable_gpus:
            return say("The engine can use: {names}.", names=listed(self.usable_gpus))
        if self.usable_gpus is not None:
            return idle_gpu(self.machine)
        return narrow_vectors(self.machine, selection().lab)

    def speeds(self) -> str | None:
        """How wrong predictions of decoding speed are here, in a sentence; None where fewer than
        two files were timed.
        """
        if not self.speed_errors:
            return None
        sizes = sorted(abs(error) for error in self.speed_errors)
        return say(
            "Decoding speed, each of {n} timed files as the others predict it: half within "
            "{median:.0%} of what was measured, the worst {worst:+.0%}.",
            n=len(sizes),
            median=sizes[len(sizes) // 2],
            worst=max(self.speed_errors, key=abs),
        )

    def as_json(self) -> dict[str, Any]:
        """The object of `hakaru doctor --json`."""
        return {
            "schema": "hakaru.doctor/1",
            "engines": self.engines,
            "ledger": self.ledger,
            "machine": self.machine.fingerprint,
            "architectures": self.summaries,
            "margin": max(self.margins, key=lambda m: m.fraction).as_json(),
            "margins": [margin.as_json() for margin in self.margins],
            "engine_devices": self.usable_gpus,
            "speed_errors": list(self.speed_errors),
        }


def checkup(session: Session) -> Checkup:
    """Look at the engines and the ledger of `session`."""
    machine, ledger = session.machine, session.ledger
    engines = {"lab": _build(lab_build), "server": _build(server_build)}
    return Checkup(
        engines=engines,
        ledger=str(ledger.path),
        machine=machine,
        errors=[e for e in errors(ledger.memory_rows()) if e.machine == machine.fingerprint],
        speed_errors=errors_left_out(timed_files(ledger, machine)),
        usable_gpus=_usable_gpus(machine) if all(engines.values()) else None,
    )


def summary(group: Sequence[Error]) -> dict[str, Any]:
    """The worst errors of some loads, by part of the memory, in bytes."""
    excesses = [e.excess for e in group if e.excess is not None]
    return {
        "checks": len(group),
        "loads": len(excesses),
        "computed_less_dry_run_bytes": {
            p: _worst([e.computed_errors[p] for e in group if e.computed_errors]) for p in PARTS
        },
        "dry_run_less_measured_bytes": {
            p: _worst([_beyond_the_log(e.dry_run_errors[p]) for e in group if e.dry_run_errors])
            for p in PARTS
        },
        "peak_over_prediction": {
            "least": min(excesses, default=None),
            "most": max(excesses, default=None),
        },
    }


def _build(ask: Callable[[], str]) -> str | None:
    try:
        return ask()
    except EngineMissing:
        return None


def _usable_gpus(machine: Machine) -> list[str] | None:
    """The accelerators that the engine's build can use; None where the machine has no GPU."""
    if not machine.has_gpu:
        return None
    return [device.description for device in devices_of(selection().lab)]


def _worst(values: Sequence[int]) -> int | None:
    """The value farthest from nothing, or None for none."""
    return max(values, key=abs, default=None)


def _beyond_the_log(difference: int) -> int:
    """A difference from a load's log; 0 where the last digit of the log hides the difference."""
    return 0 if abs(difference) <= ROUNDED_BYTES else difference
