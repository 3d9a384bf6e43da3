"""`hakaru quantize`: a preset of llama.cpp's, or the best mix for a budget, each written to a file
that is read back.
"""

import hashlib
import json
import sys
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from hakaru.cli.options import QuantizeOptions
from hakaru.cli.output import Watching, next_step, print_json, print_text, warn_silent_devices
from hakaru.cli.terminal import terminal_session
from hakaru.engine.lab import Lab
from hakaru.errors import EngineRefused, Misuse, ModelDamaged
from hakaru.evaluation.tiers import tier_named
from hakaru.formats.imatrix import Imatrix, read_imatrix
from hakaru.hardware.machine import Machine
from hakaru.hardware.named_machine import parse_hardware
from hakaru.hardware.probe import probe_machine
from hakaru.language import say
from hakaru.memory.context import Context, any_settings_for
from hakaru.memory.settings import ContextSettings
from hakaru.models.model import Model, read_language_model
from hakaru.models.presets import NEEDS_IMPORTANCE, preset_named
from hakaru.models.sources.checkpoint import convertible
from hakaru.models.sources.conversion import convert, installed_converter, needs_conversion
from hakaru.models.sources.find import find_model, read_whole
from hakaru.models.sources.found import Found
from hakaru.places import check_place
from hakaru.planning.budget import room_for_weights
from hakaru.planning.here import hardware_here
from hakaru.quantization.build import build, copies_all, plan_presets, plan_with_importance
from hakaru.quantization.file_bytes import budget_bytes
from hakaru.quantization.journal import Journal, journal_path, locked_journal, waits
from hakaru.quantization.loadable import check_source
from hakaru.quantization.pins import parse_pin
from hakaru.quantization.source import source_kind
from hakaru.quantization.writer import check_free, check_target
from hakaru.units import format_bytes, parse_bytes

if TYPE_CHECKING:  # a preset is written without what a budget needs
    from hakaru.quantization.study.study import Study
    from hakaru.quantization.target import Target

TOLD: Final = {"json", "overwrite", "model", "converter", "output"}
"""Options that do not change what is measured and written for one source and one file."""


def run(options: QuantizeOptions) -> int:
    """Write a quantized model file: to a preset, or to a budget. Raises Misuse where not exactly
    one of them is asked for.
    """
    targets = (options.type_, options.bpw, options.size, options.quality)
    if sum(target is not None for target in targets) + options.fit != 1:
        raise Misuse("name one target: --type, --bpw, --size, --fit or --quality.")
    _check(options)
    found = _found(options.model, options.converter, dry_run=options.dry_run, quiet=options.json)
    source = (
        read_language_model(found.path) if options.type_ and options.dry_run else read_whole(found)
    )
    name = (
        preset_named(options.type_)
        if options.type_
        else options.bpw or options.size or options.quality or "fit"
    )
    out = options.output or found.workplace.with_name(f"{found.workplace.name}-{name}.gguf")
    is_converted = options.converter is not None or needs_conversion(options.model)
    command = _command(source, options)
    check_target(source, out, overwrite=options.overwrite or waits(out, command))
    with nullcontext() if options.dry_run else locked_journal(out, command) as journal:
        _check_source(source, is_converted=is_converted)
        if options.type_:
            return _to_preset(source, out, journal, options.type_, options)
        return _to_budget(source, out, journal, options)


def _command(source: Model, options: QuantizeOptions) -> str:
    """What stands for this command, but for how its result is told: the same one goes on where it
    was interrupted.
    """
    kept = {name: value for name, value in asdict(options).items() if name not in TOLD}
    parts = [(str(p.resolve()), p.stat().st_size, p.stat().st_mtime_ns) for p in source.parts]
    return hashlib.sha256(
        json.dumps([parts, sorted(kept.items())], default=str).encode()
    ).hexdigest()


def _check(options: QuantizeOptions) -> None:
    """What can be known to be wrong before anything is read, or converted for minutes. Raises
    Misuse.
    """
    if options.type_:
        preset_named(options.type_)
        if options.min_speed is not None:
            raise Misuse("--min-speed goes with a budget: --bpw, --size, --fit or --quality.")
        if options.pins:
            raise Misuse("--pin goes with a budget: --bpw, --size, --fit or --quality.")
    for text in (options.size, options.split):
        if text:
            parse_bytes(text)
    for pin in options.pins:
        parse_pin(pin)
    if options.quality:
        tier_named(options.quality)
    if options.output:
        check_place("-o", options.output)
        check_free(
            options.output, overwrite=options.overwrite or journal_path(options.output).exists()
        )


def _found(model: str, converter: Path | None, *, dry_run: bool, quiet: bool) -> Found:
    """The model, or what the converter makes of a checkpoint; what the converter says goes to
    stderr.
    """
    known = convertible(Path(model).expanduser()) if needs_conversion(model) else None
    if known and not quiet:
        print_text(known)
    if converter is None and needs_conversion(model):
        converter = installed_converter()
        if converter is None:
            raise Misuse(
                "{folder}: a Hugging Face folder becomes a GGUF file first, by llama.cpp's "
                "convert_hf_to_gguf.py; name it: "
                "--converter PATH.",
                folder=model,
            )
    if converter is None:
        return find_model(model)
    found = convert(
        model,
        converter,
        dry_run=dry_run,
        on_line=lambda line: None if quiet else print(line, file=sys.stderr),
    )
    if not quiet:
        print_text(
            say("Source: {path}, converted from {folder} and kept.", path=found.path, folder=model)
        )
    return found


def _check_source(source: Model, *, is_converted: bool) -> None:
    """Raises what `check_source` raises. A converted file that does not load is removed, so that
    the next run converts anew.
    """
    try:
        check_source(Lab(), source)
    except ModelDamaged as error:
        if not is_converted:
            raise
        source.path.unlink(missing_ok=True)
        raise EngineRefused(
            "the converter made a file that llama.cpp cannot load ({reason}); use the converter "
            "of a current llama.cpp, or fetch the folder again.",
            reason=error.fields.get("reason", error),
        ) from error


def _to_preset(
    source: Model, out: Path, journal: Journal | None, type_: str, options: QuantizeOptions
) -> int:
    """Write the preset, or with `dry_run` say what it would be."""
    lab, split_bytes = Lab(), parse_bytes(options.split) if options.split else None
    importance = options.importance or ("auto" if type_.upper() in NEEDS_IMPORTANCE else "none")
    recipe = (
        plan_presets(source, [type_])[0]
        if importance == "none"
        else plan_with_importance(source, type_)
    )
    is_copy = copies_all(source, recipe.types)
    warning = None if is_copy else source_kind(source).sentence(recipe.preset)
    made = None
    with Watching(quiet=options.json) as watch:
        has_imatrix = importance != "auto" or not options.dry_run
        imatrix = _preset_imatrix(importance, source, options, watch) if has_imatrix else None
        if not options.json:
            if warning:
                print_text(warning)
            print_text(
                say(
                    "{type}: {bytes} of weights, {bpw:.2f} bits per weight (the source: "
                    "{source}, {source_bpw:.2f})",
                    type=recipe.preset,
                    bytes=format_bytes(recipe.weights_bytes),
                    bpw=recipe.bpw,
                    source=format_bytes(source.weights_bytes),
                    source_bpw=source.bpw,
                )
            )
            if is_copy:
                print_text(
                    say(
                        "That is the source itself, bit for bit: every tensor has its type "
                        "already and is copied."
                    )
                )
        if not options.dry_run:
            made = build(
                lab,
                source,
                recipe,
                out,
                imatrix=imatrix,
                split_bytes=split_bytes,
                overwrite=options.overwrite,
                journal=journal,
                progress=lambda done, total: watch(recipe.preset, done, total),
            )
            if journal:
                journal.end(delete_parts=False)
    if options.json:
        from hakaru.cli.tell.quantize import preset_json

        print_json(preset_json(source, recipe, made, out, warning))
    elif made is None:
        print_text(say("Dry run: {path} would be written; nothing was changed.", path=out))
    else:
        print_text(
            say("{path}: written, read back and verified: llama.cpp loads it.", path=made.path)
        )
        next_step(f"hakaru test {made.path} --reference {source.path}")
    return 0


def _preset_imatrix(
    importance: str, source: Model, options: QuantizeOptions, watch: Watching
) -> Imatrix | None:
    """Importance data as asked for: none, collected here, or a file's. Raises Misuse for a file of
    another model.
    """
    if importance == "none":
        return None
    if importance == "auto":
        from hakaru.quantization.study.calibration import importance as collected
        from hakaru.quantization.study.study import Study

        session = terminal_session(watch=watch, quiet=options.json)
        return collected(Study(session, source, options.effort))
    imatrix = read_imatrix(Path(importance))
    imatrix.check("--importance", source.path, source.tensors)
    return imatrix


def _to_budget(source: Model, out: Path, journal: Journal | None, options: QuantizeOptions) -> int:
    """Make the best file of the target, or with `dry_run` say what it would be. Returns 1 if it
    fails its tier.
    """
    from hakaru.cli.tell.quantize import print_made
    from hakaru.quantization.made import make, planned
    from hakaru.quantization.plan import glancing_study, plan_recipe
    from hakaru.quantization.study.study import Study
    from hakaru.quantization.target import SpeedGoal

    wanted = [parse_pin(pin) for pin in options.pins]
    split_bytes = parse_bytes(options.split) if options.split else None
    machine = probe_machine()
    if not options.hardware:
        warn_silent_devices(machine)
    target = _target(source, machine, options)
    if options.min_speed is not None:
        goal = SpeedGoal(
            tokens_per_s=options.min_speed, settings=_settings(source, options.context)
        )
        target = replace(target, speed=goal)
    if not options.json:
        warning = source_kind(source).sentence()
        for note in ([warning] if warning else []) + list(
            target.room.hardware.notes if target.room else ()
        ):
            print_text(note)
    with Watching(quiet=options.json) as watch:
        session = (
            terminal_session(machine, watch, quiet=options.json, keeps=False)
            if options.dry_run
            else terminal_session(machine, watch, quiet=options.json)
        )
        studied = glancing_study if options.dry_run else Study
        study = studied(session, source, options.effort)
        imatrix = _imatrix(options.importance or "auto", study)
        plan = plan_recipe(study, target, imatrix=imatrix, pins=wanted)
        made = (
            planned(source, plan, out)
            if options.dry_run
            else make(
                study,
                plan,
                out,
                overwrite=options.overwrite,
                split_bytes=split_bytes,
                journal=journal,
            )
        )
    if options.json:
        print_json(made.as_json())
    else:
        print_made(made)
        if not options.dry_run:
            next_step(f"hakaru test {made.path} --reference {source.path}")
    return 1 if made.tested and made.tested.judgement.verdict == "fail" else 0


def _target(model: Model, machine: Machine, options: QuantizeOptions) -> "Target":
    from hakaru.quantization.target import Target

    if options.quality:
        return Target(tier=tier_named(options.quality))
    if options.size:
        n_bytes = parse_bytes(options.size)
    elif options.bpw:
        n_bytes = budget_bytes(model.n_params, options.bpw)
    else:
        named = parse_hardware(options.hardware) if options.hardware else None
        place = named or hardware_here(machine, uses_gpu=machine.has_gpu)
        room = room_for_weights(model, place, _settings(model, options.context))
        if room.holds(model):
            raise Misuse("{path}: fits as it is; there is nothing to quantize.", path=model.path)
        return Target(room=room)
    if n_bytes >= model.file_bytes:
        raise Misuse(
            "{path}: the source itself is the answer: it has {source} ({source_bytes:,} bytes), "
            "within the budget of {found}, and loses nothing; use it as it "
            "is, or ask for less.",
            path=model.path,
            found=format_bytes(n_bytes),
            source=format_bytes(model.file_bytes),
            source_bytes=model.file_bytes,
        )
    return Target(file_bytes=n_bytes, bpw=options.bpw)


def _settings(model: Model, context: int | None) -> ContextSettings:
    return any_settings_for(model, **({} if context is None else Context(n_ctx=context)))


def _imatrix(asked: str, study: "Study") -> Imatrix | None:
    from hakaru.quantization.study.calibration import importance, known_importance

    if asked == "none":
        return None
    if asked == "auto":
        return known_importance(study) if study.glance else importance(study)
    return read_imatrix(Path(asked))
