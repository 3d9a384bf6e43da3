"""`hakaru doctor`: what is installed, and how far the memory that was predicted lay from what
really happened.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

from hakaru.cli.options import DoctorOptions
from hakaru.cli.output import next_step, print_json, print_table, print_text
from hakaru.cli.terminal import terminal_session
from hakaru.engine.builds import selection
from hakaru.engine.devices import devices_of
from hakaru.engine.lab import lab_build
from hakaru.engine.server import server_build
from hakaru.engine.unused import idle_gpu, narrow_vectors
from hakaru.errors import EngineMissing
from hakaru.hardware.machine import Machine
from hakaru.language import say
from hakaru.planning.learned import PARTS, Error, Kind, Margin, errors, learned_margin
from hakaru.units import format_bytes

ROUNDED_BYTES: Final = 2**20 // 200  # half of 0.01 MiB


def run(options: DoctorOptions) -> int:
    """Print the state of hakaru here. Returns 6 if an engine is missing."""
    session = terminal_session(keeps=False)
    machine, ledger = session.machine, session.ledger
    engines = {"lab": _build(lab_build), "server": _build(server_build)}
    here = [e for e in errors(ledger.memory_rows()) if e.machine == machine.fingerprint]
    margins = _margins(machine, here)
    is_whole = all(engines.values())
    usable = _usable_gpus(machine) if is_whole else None
    if options.json:
        about = _as_json(engines, str(ledger.path), machine.fingerprint, here, margins)
        print_json(about | {"engine_devices": usable})
    else:
        _print(engines, str(ledger.path), here, margins)
        for sentence in _unused(machine, usable) if is_whole else []:
            print_text(sentence)
    return 0 if is_whole else 6


def _build(ask: Callable[[], str]) -> str | None:
    try:
        return ask()
    except EngineMissing:
        return None


def _usable_gpus(machine: Machine) -> list[str] | None:
    """The names of the accelerators that the engine's build can use; None where the machine has
    none to use.
    """
    return (
        [device.description for device in devices_of(selection().lab)] if machine.has_gpu else None
    )


def _unused(machine: Machine, usable: list[str] | None) -> list[str]:
    """What the machine has and the engine does not use, and whether it uses the GPU."""
    if usable:
        return [say("The engine can use: {names}.", names=", ".join(usable))]
    if usable is not None:
        return [idle_gpu(machine)]
    narrow = narrow_vectors(machine, selection().lab)
    return [narrow] if narrow else []


def _margins(machine: Machine, here: Sequence[Error]) -> list[Margin]:
    """What is kept free here on the processor: a margin for each architecture that was loaded, or
    else what is assumed for any.
    """
    on_cpu = [
        Kind(
            machine=machine.fingerprint, backend="cpu", architecture=name, alone=not machine.devices
        )
        for name in _by_architecture([e for e in here if e.excess is not None]) or {"": []}
    ]
    return [learned_margin(here, kind) for kind in on_cpu]


def _by_architecture(found: Sequence[Error]) -> dict[str, list[Error]]:
    groups: dict[str, list[Error]] = {}
    for error in found:
        groups.setdefault(error.architecture, []).append(error)
    return dict(sorted(groups.items()))


def _worst(values: Sequence[int]) -> int | None:
    """The value farthest from nothing, or None for none."""
    return max(values, key=abs, default=None)


def _beyond_the_log(difference: int) -> int:
    """A difference from what a load's log said, 0 where the log's last digit hides it: llama.cpp
    prints 0.01 MiB.
    """
    return 0 if abs(difference) <= ROUNDED_BYTES else difference


def _summary(found: Sequence[Error]) -> dict[str, Any]:
    excesses = [e.excess for e in found if e.excess is not None]
    return {
        "checks": len(found),
        "loads": len(excesses),
        "computed_less_dry_run_bytes": {
            p: _worst([e.computed_errors[p] for e in found if e.computed_errors]) for p in PARTS
        },
        "dry_run_less_measured_bytes": {
            p: _worst([_beyond_the_log(e.dry_run_errors[p]) for e in found if e.dry_run_errors])
            for p in PARTS
        },
        "peak_over_prediction": {
            "least": min(excesses, default=None),
            "most": max(excesses, default=None),
        },
    }


def _as_json(
    engines: dict[str, str | None],
    ledger: str,
    machine: str,
    here: Sequence[Error],
    margins: Sequence[Margin],
) -> dict[str, Any]:
    return {
        "schema": "hakaru.doctor/1",
        "engines": engines,
        "ledger": ledger,
        "machine": machine,
        "architectures": {name: _summary(found) for name, found in _by_architecture(here).items()},
        "margin": max(margins, key=lambda m: m.fraction).as_json(),
        "margins": [margin.as_json() for margin in margins],
    }


def _print(
    engines: dict[str, str | None], ledger: str, here: Sequence[Error], margins: Sequence[Margin]
) -> None:
    print_table(
        ["", ""],
        [
            [say("engine, lab"), engines["lab"] or say("missing: run make")],
            [say("engine, server"), engines["server"] or say("missing: run make")],
            [say("ledger"), ledger],
        ],
        left=2,
    )
    rows = []
    for name, found in _by_architecture(here).items():
        summary = _summary(found)
        ours, engine, peak = (
            summary[k]
            for k in (
                "computed_less_dry_run_bytes",
                "dry_run_less_measured_bytes",
                "peak_over_prediction",
            )
        )
        rows.append([name, str(summary["checks"]), _bytes(ours["weights_bytes"]),
            _bytes(ours["kv_cache_bytes"]), _bytes(ours["compute_bytes"]),
                     str(summary["loads"]), _bytes(engine["compute_bytes"]),
                     _range(peak["least"], peak["most"])])  # fmt: skip
    if rows:
        print_text(
            say(
                "Worst error on this machine, by architecture: our arithmetic less the dry run, "
                "the dry run less the real load's "
                "buffers, and the process's peak over the prediction."
            )
        )
        print_table([say("architecture"), say("checks"), say("weights"), say("KV cache"),
            say("compute"),
                     say("loads"), say("compute"), say("peak")], rows)  # fmt: skip
    else:
        print_text(say("Nothing was checked here yet."))
        next_step("hakaru up")
    for margin in margins:
        print_text(margin.sentence())


def _bytes(n: int | None) -> str:
    return "-" if n is None else f"{'-' if n < 0 else '+'}{format_bytes(abs(n))}"


def _range(low: float | None, high: float | None) -> str:
    return "-" if low is None or high is None else f"{100 * low:+.1f} … {100 * high:+.1f} %"
