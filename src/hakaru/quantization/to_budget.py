"""The best file for a budget: planned, raced, written, and measured from the disk."""

from collections.abc import Mapping
from pathlib import Path

from hakaru.errors import Interrupted, Misuse
from hakaru.evaluation.divergence import measure_quality
from hakaru.evaluation.losses import tested, windows_of
from hakaru.evaluation.tiers import Quality, tier_named
from hakaru.formats.imatrix import Imatrix
from hakaru.hardware.machine import hardware_of
from hakaru.hardware.named_machine import parse_hardware
from hakaru.language import say
from hakaru.models.model import Model
from hakaru.models.presets import FTYPES, NEEDS_IMPORTANCE
from hakaru.planning.budget import room_for_weights
from hakaru.quantization.file_bytes import budget_bytes
from hakaru.quantization.journal import Journal
from hakaru.quantization.made import Made
from hakaru.quantization.order import Order
from hakaru.quantization.pins import parse_pin
from hakaru.quantization.plan import Plan, glancing_study, plan_recipe
from hakaru.quantization.probes import group_probes
from hakaru.quantization.race import RIVALS, Race, race
from hakaru.quantization.source import source_kind
from hakaru.quantization.study.calibration import importance_from
from hakaru.quantization.study.recipe_file import written as written_file
from hakaru.quantization.study.recipe_speed import recipe_speed
from hakaru.quantization.study.study import Study
from hakaru.quantization.study.type_errors import type_errors
from hakaru.quantization.target import SpeedGoal, Target
from hakaru.quantization.tier_search import ROUNDS as TRIES
from hakaru.session import Session
from hakaru.units import alike, size_in_bytes


def to_budget(
    source: Model, order: Order, out: Path, journal: Journal | None, session: Session
) -> Made:
    """Make the best file that the order asks for, or with `dry_run` say what it would be. Raises
    DoesNotFit, Misuse and what `write_recipe` raises.
    """
    if not order.hardware:
        session.warn_of_silence(session.machine)
    target = target_of(source, order, session)
    if warning := source_kind(source).sentence():
        session.note(warning)
    for note in target.room.hardware.notes if target.room else ():
        session.note(note)
    study_of = glancing_study if order.dry_run else Study
    study = study_of(session, source, order.effort)
    imatrix = importance_from(order.importance or "auto", study)
    if not order.dry_run and not target.speed:
        study.agenda.ahead = steps_ahead(study, target, imatrix)
    pins = [parse_pin(pin) for pin in order.pins]
    plan = plan_recipe(study, target, imatrix=imatrix, pins=pins)
    if order.dry_run:
        return planned(source, plan, out)
    return make(
        study, plan, out, overwrite=order.overwrite, split_bytes=order.split_bytes, journal=journal
    )


def steps_ahead(study: Study, target: Target, imatrix: Imatrix | None) -> dict[str, int]:
    """The steps of a budget that read windows, and how many windows each reads at most, counted for
    each recipe.
    """
    errors, some, more = type_errors(study, imatrix), study.sampling, len(study.validation)
    n_runs = len(study.choices.run_recipes(errors, some.runs)) + 1  # and the floor
    return {
        "probes": len(group_probes(errors, study.effort)) * some.n_windows,
        "single tensors": some.n_singles * some.n_windows,
        "runs": n_runs * some.n_windows + more,  # the last is the chosen mix's own
        "tier": TRIES * more if target.tier else 0,
        "race": (2 + RIVALS) * len(study.test),  # our mix, without copies, too
        "test": len(study.test),
    }


def target_of(model: Model, order: Order, session: Session) -> Target:
    """What the order asks of the file. Raises Misuse where the source itself is the answer, and
    DoesNotFit where no file of this model is.
    """
    speed = None
    if order.min_tokens_per_s is not None:
        speed = SpeedGoal(tokens_per_s=order.min_tokens_per_s, settings=order.settings(model))
    if order.tier:
        return Target(tier=tier_named(order.tier), speed=speed)
    if order.size is not None:
        n_bytes = size_in_bytes(order.size)
    elif order.bpw:
        n_bytes = budget_bytes(model.n_params, order.bpw)
    else:
        machine = session.machine
        named = parse_hardware(order.hardware) if order.hardware else None
        place = named or hardware_of(machine, uses_gpu=machine.has_gpu)
        room = room_for_weights(model, place, order.settings(model))
        if room.holds(model):
            raise Misuse("{path}: fits as it is; there is nothing to quantize.", path=model.path)
        return Target(room=room, speed=speed)
    if n_bytes >= model.file_bytes:
        budget, size = alike(n_bytes, model.file_bytes)
        raise Misuse(
            "{path}: the source itself is the answer: it has {source} ({source_bytes:,} bytes), "
            "within the budget of {found}, and loses nothing; use it as it is, or ask for less.",
            path=model.path,
            found=budget,
            source=size,
            source_bytes=model.file_bytes,
        )
    return Target(file_bytes=n_bytes, bpw=order.bpw, speed=speed)


def planned(source: Model, plan: Plan, out: Path) -> Made:
    """What would be made; nothing is raced or written."""
    return Made(
        source=source, path=out, plan=plan, types=plan.types, preset=None,
        file_bytes=plan.file_bytes, predicted=plan.predicted, speed=plan.speed,
    )  # fmt: skip


def make(
    study: Study,
    plan: Plan,
    out: Path,
    *,
    overwrite: bool = False,
    split_bytes: int | None = None,
    journal: Journal | None = None,
) -> Made:
    """Race the plan against the presets, write the winner to `out`, read it back and measure it on
    the test windows; where a tier was asked for, on as many of all test windows as it takes to know
    whether it holds. With the `journal` of `out` the same call goes on after any interruption, in
    the measurement, too.

    Raises what `write_recipe` raises.
    """
    raced = race(study, plan)
    chosen = raced.rival.recipe if raced.rival and not raced.wins else None
    types = chosen.types if chosen else plan.types
    preset = chosen.preset if chosen else None
    number = {**FTYPES, **NEEDS_IMPORTANCE}[preset] if preset else None
    written = written_file(
        study,
        types,
        plan.imatrix,
        out,
        file_type=number,
        split_bytes=split_bytes,
        overwrite=overwrite,
        journal=journal,
    )
    try:
        made = _measured(study, plan, raced, written, types, preset)
    except KeyboardInterrupt as stop:
        raise Interrupted(
            say(
                "{path} is written and verified, and its measurement is missing: the same "
                "command goes on there.",
                path=written.path,
            )
        ) from stop
    if journal:
        journal.end(delete_parts=False)
    return made


def _measured(
    study: Study,
    plan: Plan,
    raced: Race,
    written: Model,
    types: Mapping[str, str],
    preset: str | None,
) -> Made:
    """The written file with its loss and, if one was asked for, its speed."""
    model, session, tier = study.model, study.session, plan.target.tier
    judged = None
    if tier:
        judged = tested(session, written, model, windows_of(session, model, parts=("test",)), tier)
    return Made(
        source=model,
        path=written.path,
        plan=plan,
        types=types,
        preset=preset,
        file_bytes=written.file_bytes,
        predicted=plan.link.predict(types),
        race=raced,
        measured=(judged.quality if judged else _lost(study, written)).kld_mean,
        tested=judged,
        speed=recipe_speed(study, types, plan.imatrix, plan.target.speed.settings)
        if plan.target.speed
        else None,
        others=study.others,
    )


def _lost(study: Study, written: Model) -> Quality:
    """The loss of a written file of the model on the test windows."""
    study.agenda.begins("test", len(study.test))
    (quality,) = measure_quality(
        study.session.lab,
        study.model.path,
        [written.path],
        study.test,
        progress=study.reading(say("texts read with the new file"), len(study.test)),
    )
    return quality
