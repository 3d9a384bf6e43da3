"""`hakaru quantize` to one of llama.cpp's presets. `budget.py` is the other half: to a number of bytes."""

import hashlib
import json
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from hakaru.cli.output import Watching, next_step, print_json, print_text
from hakaru.engine.lab import Lab, lab_build
from hakaru.errors import EngineRefused, Misuse, ModelDamaged
from hakaru.evaluation.tiers import tier_named
from hakaru.language import say
from hakaru.models.imatrix import Imatrix, read_imatrix
from hakaru.models.model import Model, read_language_model
from hakaru.models.presets import NEEDS_IMPORTANCE, preset_named
from hakaru.models.sources.checkpoint import convertible
from hakaru.models.sources.conversion import convert, installed_converter, needs_conversion
from hakaru.models.sources.find import find_model, read_whole
from hakaru.models.sources.found import Found
from hakaru.places import check_place
from hakaru.quantization.build import Recipe, build, copies_all, plan_presets, plan_with_importance
from hakaru.quantization.journal import Journal, journal_path, locked_journal, waits
from hakaru.quantization.loadable import check_source
from hakaru.quantization.pins import parse_pin
from hakaru.quantization.probes import Effort
from hakaru.quantization.source import source_kind
from hakaru.quantization.writer import check_free, check_target
from hakaru.units import format_bytes, parse_bytes


def run(*, type_: str | None, bpw: str | None, size: str | None, fit: bool, quality: str | None, **options: Any) -> int:
    """Write a quantized model file: to a preset, or to a budget. Raises Misuse where not exactly one of them is asked for."""
    if sum([type_ is not None, bpw is not None, size is not None, fit, quality is not None]) != 1:
        raise Misuse("name one target: --type, --bpw, --size, --fit or --quality.")
    _check(type_=type_, size=size, quality=quality, **options)
    reference, converter = options.pop("model"), options.pop("converter")
    found = _found(reference, converter, dry_run=options["dry_run"], quiet=options["json"])
    source = read_language_model(found.path) if type_ and options["dry_run"] else read_whole(found)
    name = preset_named(type_) if type_ else bpw or size or quality or "fit"
    out = options.pop("output") or found.workplace.with_name(f"{found.workplace.name}-{name}.gguf")
    is_converted = converter is not None or needs_conversion(reference)
    asked = _asked(source, type_=type_, bpw=bpw, size=size, fit=fit, quality=quality, **options)
    check_target(source, out, overwrite=options["overwrite"] or waits(out, asked))
    with nullcontext() if options["dry_run"] else locked_journal(out, asked) as journal:
        _check_source(source, is_converted=is_converted)
        options |= {"source": source, "out": out, "journal": journal}
        if type_:
            taken = ("source", "out", "journal", "importance", "effort", "split", "overwrite", "dry_run", "json")
            return _to_preset(type_=type_, **{name: options[name] for name in taken})
        from hakaru.cli import budget

        options["importance"] = options["importance"] or "auto"
        return budget.run(bpw=bpw, size=size, quality=quality, **options)


def _asked(source: Model, **options: Any) -> str:
    """What stands for this command, but for how its result is told: the same one goes on where it was interrupted."""
    kept = {name: value for name, value in options.items() if name not in {"json", "overwrite"}}
    parts = [(str(p.resolve()), p.stat().st_size, p.stat().st_mtime_ns) for p in source.parts]
    return hashlib.sha256(json.dumps([parts, sorted(kept.items())], default=str).encode()).hexdigest()


def _check(
    *, type_: str | None, size: str | None, quality: str | None, min_speed: float | None, pins: tuple[str, ...], split: str | None,
    output: Path | None, overwrite: bool, **_: Any,
) -> None:  # fmt: skip
    """What can be known to be wrong before anything is read, or converted for minutes. Raises Misuse."""
    if type_:
        preset_named(type_)
        if min_speed is not None:
            raise Misuse("--min-speed goes with a budget: --bpw, --size, --fit or --quality.")
        if pins:
            raise Misuse("--pin goes with a budget: --bpw, --size, --fit or --quality.")
    for text in (size, split):
        if text:
            parse_bytes(text)
    for pin in pins:
        parse_pin(pin)
    if quality:
        tier_named(quality)
    if output:
        check_place("-o", output)
        check_free(output, overwrite=overwrite or journal_path(output).exists())


def _found(model: str, converter: Path | None, *, dry_run: bool, quiet: bool) -> Found:
    """The model, or what the converter makes of a checkpoint; what the converter says goes to stderr."""
    known = convertible(Path(model).expanduser()) if needs_conversion(model) else None
    if known and not quiet:
        print_text(known)
    if converter is None and needs_conversion(model):
        converter = installed_converter()
        if converter is None:
            raise Misuse("{folder}: a Hugging Face folder becomes a GGUF file first, by llama.cpp's convert_hf_to_gguf.py; name it: "
                         "--converter PATH.", folder=model)  # fmt: skip
    if converter is None:
        return find_model(model)
    found = convert(model, converter, dry_run=dry_run, on_line=lambda line: None if quiet else print(line, file=sys.stderr))
    if not quiet:
        print_text(say("Source: {path}, converted from {folder} and kept.", path=found.path, folder=model))
    return found


def _check_source(source: Model, *, is_converted: bool) -> None:
    """Raises what `check_source` raises. A converted file that does not load is removed, so that the next run converts anew."""
    try:
        check_source(Lab(), source)
    except ModelDamaged as error:
        if not is_converted:
            raise
        source.path.unlink(missing_ok=True)
        raise EngineRefused(
            "the converter made a file that llama.cpp cannot load ({reason}); use the converter of a current llama.cpp, or fetch the folder again.",
            reason=error.fields.get("reason", error),
        ) from error  # fmt: skip


def _to_preset(
    *,
    source: Model,
    out: Path,
    journal: Journal | None,
    type_: str,
    importance: str | None,
    effort: Effort,
    split: str | None,
    overwrite: bool,
    dry_run: bool,
    json: bool,
) -> int:
    lab, split_bytes = Lab(), parse_bytes(split) if split else None
    importance = importance or ("auto" if type_.upper() in NEEDS_IMPORTANCE else "none")
    recipe = plan_presets(lab, source, [type_])[0] if importance == "none" else plan_with_importance(source, type_)
    is_copy = copies_all(source, recipe.types)
    warning = None if is_copy else source_kind(source).sentence(recipe.preset)
    made = None
    with Watching(quiet=json) as watch:
        imatrix = _imatrix(importance, source, effort, watch) if importance != "auto" or not dry_run else None
        if not json:
            if warning:
                print_text(warning)
            print_text(say("{type}: {bytes} of weights, {bpw:.2f} bits per weight (the source: {source}, {source_bpw:.2f})",
                      type=recipe.preset, bytes=format_bytes(recipe.weights_bytes), bpw=recipe.bpw,
                      source=format_bytes(source.weights_bytes), source_bpw=source.bpw))  # fmt: skip
            if is_copy:
                print_text(say("That is the source itself, bit for bit: every tensor has its type already and is copied."))
        if not dry_run:
            made = build(
                lab, source, recipe, out, imatrix=imatrix, split_bytes=split_bytes, overwrite=overwrite, journal=journal,
                progress=lambda done, total: watch(recipe.preset, done, total),
            )  # fmt: skip
            if journal:
                journal.end(delete_parts=False)
    if json:
        print_json(_as_json(source, recipe, made, out, warning))
    elif made is None:
        print_text(say("Dry run: {path} would be written; nothing was changed.", path=out))
    else:
        print_text(say("{path}: written, read back and verified: llama.cpp loads it.", path=made.path))
        next_step(f"hakaru test {made.path} --reference {source.path}")
    return 0


def _imatrix(importance: str, source: Model, effort: Effort, watch: Watching) -> Imatrix | None:
    """Importance data as asked for: none, collected here, or a file's. Raises Misuse for a file of another model."""
    if importance == "none":
        return None
    if importance == "auto":
        from hakaru.session import Session
        from hakaru.tuning.bench import Bench
        from hakaru.tuning.study import Study

        return Study(Bench(Session.here(watch=watch)), source, effort).importance()
    imatrix = read_imatrix(Path(importance))
    imatrix.check("--importance", source.path, source.tensors)
    return imatrix


def _as_json(model: Model, recipe: Recipe, made: Model | None, out: Path, warning: str | None) -> dict[str, object]:
    return {
        "schema": "hakaru.recipe/1",
        "path": str(made.path if made else out),
        "written": made is not None,
        "loads": True if made else None,
        "type": recipe.preset,
        "bytes": recipe.weights_bytes,
        "bpw": recipe.bpw,
        "file_bytes": made.file_bytes if made else None,
        "source": {"path": str(model.path), "bytes": model.weights_bytes, "bpw": model.bpw, "kind": source_kind(model).kind},
        "warning": warning,
        "engine": lab_build(),
        "tensors": [{"name": t.name, "type": recipe.types.get(t.name, t.type.name)} for t in model.tensors],
    }
