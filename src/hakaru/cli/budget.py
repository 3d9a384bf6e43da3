"""`hakaru quantize` to a budget: bytes, bits per weight, what fits a machine, or a tier of quality."""

from dataclasses import replace
from pathlib import Path

from hakaru.cli.output import Watching, next_step, print_json, print_table, print_text
from hakaru.cli.settings import any_settings_for
from hakaru.errors import Misuse
from hakaru.evaluation.tiers import tier_named
from hakaru.hardware.catalogue import parse_hardware
from hakaru.hardware.machine import Machine
from hakaru.hardware.probe import probe_machine
from hakaru.language import say
from hakaru.memory.footprint import ContextSettings
from hakaru.models.imatrix import Imatrix, read_imatrix
from hakaru.models.model import Model
from hakaru.models.sources.find import read_whole
from hakaru.models.sources.found import Found
from hakaru.planning.budget import bytes_for_weights
from hakaru.planning.here import hardware_here
from hakaru.quantization.file_bytes import budget_bytes
from hakaru.quantization.pins import parse_pin
from hakaru.quantization.probes import Effort
from hakaru.quantization.source import source_kind
from hakaru.quantization.writer import check_target
from hakaru.tuning.bench import Bench
from hakaru.tuning.budget import Budgeter, SpeedGoal, Target
from hakaru.tuning.ledger import Ledger
from hakaru.tuning.made import Made, make, planned
from hakaru.units import format_bytes, parse_bytes


def run(
    *,
    model: Found,
    bpw: str | None,
    size: str | None,
    fit: bool,
    quality: str | None,
    hardware: str | None,
    context: int | None,
    min_speed: float | None,
    effort: Effort,
    importance: str,
    pins: tuple[str, ...],
    split: str | None,
    output: Path | None,
    overwrite: bool,
    dry_run: bool,
    json: bool,
) -> int:
    """Make the best file of the target, or with `dry_run` say what it would be."""
    wanted = [parse_pin(pin) for pin in pins]
    split_bytes = parse_bytes(split) if split else None
    source = read_whole(model)
    machine = probe_machine()
    target = _target(source, machine, bpw=bpw, size=size, fit=fit, quality=quality, hardware=hardware, context=context)
    if min_speed is not None:
        target = replace(target, speed=SpeedGoal(tokens_per_s=min_speed, settings=_settings(source, context)))
    name = bpw or size or quality or "fit"
    out = output or model.workplace.with_name(f"{model.workplace.name}-{name}.gguf")
    check_target(source, out, overwrite=overwrite)
    warning = source_kind(source).sentence()
    if warning and not json:
        print_text(warning)
    with Watching(quiet=json) as watch:
        budgeter = Budgeter(Bench(machine=machine, ledger=Ledger(watch=watch), watch=watch), source, effort)
        plan = budgeter.plan(target, imatrix=_imatrix(importance, budgeter), pins=wanted)
        made = planned(plan, out) if dry_run else make(budgeter, plan, out, overwrite=overwrite, split_bytes=split_bytes)
    if json:
        print_json(made.as_json(source))
    else:
        _print(made, source)
        if not dry_run:
            next_step(f"hakaru test {made.path} --reference {source.path}")
    return 0


def _target(
    model: Model,
    machine: Machine,
    *,
    bpw: str | None,
    size: str | None,
    fit: bool,
    quality: str | None,
    hardware: str | None,
    context: int | None,
) -> Target:
    if quality:
        return Target(kld=tier_named(quality).kld_mean)
    if size:
        n_bytes = parse_bytes(size)
    elif bpw:
        n_bytes = budget_bytes(model.n_params, bpw)
    else:
        place = parse_hardware(hardware) if hardware else hardware_here(machine, uses_gpu=bool(machine.devices))
        n_bytes = bytes_for_weights(model, place, _settings(model, context))
    if n_bytes > model.file_bytes:
        if fit:
            raise Misuse("{path}: fits as it is; there is nothing to quantize.", path=model.path)
        raise Misuse("the budget is {found}, but the source has only {source}; ask for less.",
                     found=format_bytes(n_bytes), source=format_bytes(model.file_bytes))  # fmt: skip
    return Target(file_bytes=n_bytes)


def _settings(model: Model, context: int | None) -> ContextSettings:
    return any_settings_for(model, context=context, ubatch=512, cache_type_k="f16", cache_type_v="f16", parallel=1)


def _imatrix(asked: str, budgeter: Budgeter) -> Imatrix | None:
    if asked == "none":
        return None
    return budgeter.importance() if asked == "auto" else read_imatrix(Path(asked))


def _print(made: Made, source: Model) -> None:
    plan, race = made.plan, made.race
    known, found = plan.link.known.expected(), dict[tuple[str, str], list[tuple[int, float]]]()
    for tensor in source.tensors:
        if tensor.name in plan.types:
            type_ = made.types[tensor.name]
            damage = known[tensor.name] * plan.errors[tensor.name][type_]
            found.setdefault((_role(tensor.name), type_), []).append((tensor.n_elements, damage))
    rows = [
        [role, type_, str(len(each)), f"{sum(n for n, _ in each):,}", f"{sum(damage for _, damage in each):.5f}"]
        for (role, type_), each in sorted(found.items())
    ]
    print_table([say("tensors"), say("type"), say("number"), say("weights"), say("predicted damage")], rows, left=2)
    print_text(say("{bytes} of at most {budget} ({n:,} bytes); predicted mean KLD {kld:.5f} [{low:.5f}…{high:.5f}].",
              bytes=format_bytes(made.file_bytes), budget=format_bytes(plan.budget_bytes), n=made.file_bytes,
              kld=made.predicted.value, low=made.predicted.low, high=made.predicted.high))  # fmt: skip
    if made.speed and plan.target.speed:
        print_text(say("{n:.1f} [{low:.1f}…{high:.1f}] tokens per second, measured through the server (asked for: {wanted:.1f}).",
                  n=made.speed.value, low=made.speed.lowest, high=made.speed.highest, wanted=plan.target.speed.tokens_per_s))  # fmt: skip
    if race is None or made.measured is None:
        print_text(say("Dry run: {path} would be written; nothing was changed.", path=made.path))
        return
    if race.rival and race.ratio:
        print_text(say("Best preset of at most these bytes: {preset}, {bytes}, mean KLD {kld:.5f}; ours {ours:.5f}, {ratio:.2f} [{low:.2f}…{high:.2f}] of it.",
                  preset=race.rival.preset, bytes=format_bytes(race.rival.file_bytes), kld=race.rival.kld.value,
                  ours=race.ours.value, ratio=race.ratio.value, low=race.ratio.low, high=race.ratio.high))  # fmt: skip
    if made.preset:
        print_text(say("The mix is not proven better, so the preset was written."))
    print_text(say("{path}: written, read back and verified; measured mean KLD {kld:.5f} [{low:.5f}…{high:.5f}] on texts that no step had seen.",
              path=made.path, kld=made.measured.value, low=made.measured.low, high=made.measured.high))  # fmt: skip


def _role(name: str) -> str:
    """The tensor's name without its layer."""
    return name.split(".", 2)[2] if name.startswith("blk.") else name
