"""`hakaru quantize` to a budget: bytes, bits per weight, what fits a machine, or a tier of quality."""

from dataclasses import replace
from pathlib import Path

from hakaru.cli.asked import session_that_asks
from hakaru.cli.output import Watching, next_step, print_json, print_text, warn_silent_devices
from hakaru.cli.recipe import print_made
from hakaru.cli.settings import any_settings_for
from hakaru.errors import Misuse
from hakaru.evaluation.tiers import tier_named
from hakaru.hardware.catalogue import parse_hardware
from hakaru.hardware.machine import Machine
from hakaru.hardware.probe import probe_machine
from hakaru.memory.settings import ContextSettings
from hakaru.models.imatrix import Imatrix, read_imatrix
from hakaru.models.model import Model
from hakaru.planning.budget import room_for_weights
from hakaru.planning.here import hardware_here
from hakaru.quantization.file_bytes import budget_bytes
from hakaru.quantization.journal import Journal
from hakaru.quantization.pins import parse_pin
from hakaru.quantization.probes import Effort
from hakaru.quantization.source import source_kind
from hakaru.session import Session
from hakaru.tuning.bench import Bench
from hakaru.tuning.budget import Budgeter, SpeedGoal, Target, glancing
from hakaru.tuning.made import make, planned
from hakaru.units import format_bytes, parse_bytes


def run(
    *,
    source: Model,
    out: Path,
    journal: Journal | None,
    bpw: str | None,
    size: str | None,
    quality: str | None,
    hardware: str | None,
    context: int | None,
    min_speed: float | None,
    effort: Effort,
    importance: str,
    pins: tuple[str, ...],
    split: str | None,
    overwrite: bool,
    dry_run: bool,
    json: bool,
) -> int:
    """Make the best file of the target, or with `dry_run` say what it would be."""
    wanted = [parse_pin(pin) for pin in pins]
    split_bytes = parse_bytes(split) if split else None
    machine = probe_machine()
    if not hardware:
        warn_silent_devices(machine)
    target = _target(source, machine, bpw=bpw, size=size, quality=quality, hardware=hardware, context=context)
    if min_speed is not None:
        target = replace(target, speed=SpeedGoal(tokens_per_s=min_speed, settings=_settings(source, context)))
    warning = source_kind(source).sentence()
    if warning and not json:
        print_text(warning)
    if target.room and not json:
        for note in target.room.hardware.notes:
            print_text(note)
    with Watching(quiet=json) as watch:
        session = session_that_asks(machine, watch) if dry_run else Session.here(machine=machine, watch=watch)
        bench = Bench(session)
        budgeter = glancing(bench, source, effort) if dry_run else Budgeter(bench, source, effort)
        plan = budgeter.plan(target, imatrix=_imatrix(importance, budgeter), pins=wanted)
        made = (
            planned(source, plan, out)
            if dry_run
            else make(budgeter, plan, out, overwrite=overwrite, split_bytes=split_bytes, journal=journal)
        )
    if json:
        print_json(made.as_json())
    else:
        print_made(made)
        if not dry_run:
            next_step(f"hakaru test {made.path} --reference {source.path}")
    return 1 if made.tested and made.tested.judgement.verdict == "fail" else 0


def _target(
    model: Model,
    machine: Machine,
    *,
    bpw: str | None,
    size: str | None,
    quality: str | None,
    hardware: str | None,
    context: int | None,
) -> Target:
    if quality:
        return Target(tier=tier_named(quality))
    if size:
        n_bytes = parse_bytes(size)
    elif bpw:
        n_bytes = budget_bytes(model.n_params, bpw)
    else:
        place = parse_hardware(hardware) if hardware else hardware_here(machine, uses_gpu=machine.has_gpu)
        room = room_for_weights(model, place, _settings(model, context))
        if room.holds(model):
            raise Misuse("{path}: fits as it is; there is nothing to quantize.", path=model.path)
        return Target(room=room)
    if n_bytes >= model.file_bytes:
        raise Misuse("{path}: the source itself is the answer: it has {source} ({source_bytes:,} bytes), within the budget of {found}, and loses nothing; use it as it "
                     "is, or ask for less.", path=model.path, found=format_bytes(n_bytes), source=format_bytes(model.file_bytes),
                     source_bytes=model.file_bytes)  # fmt: skip
    return Target(file_bytes=n_bytes, bpw=bpw)


def _settings(model: Model, context: int | None) -> ContextSettings:
    return any_settings_for(model, context=context, ubatch=512, cache_type_k="f16", cache_type_v="f16", parallel=1)


def _imatrix(asked: str, budgeter: Budgeter) -> Imatrix | None:
    if asked == "none":
        return None
    if asked == "auto":
        return budgeter.known_importance() if budgeter.glance else budgeter.importance()
    return read_imatrix(Path(asked))
