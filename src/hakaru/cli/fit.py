"""`hakaru fit`: memory by part, computed and dry-run, and the verdict."""

import sys
from typing import Any

from hakaru.cli.formula import verdict_word
from hakaru.cli.output import next_step, print_json, print_table, print_text, warn_idle_gpu
from hakaru.cli.settings import any_settings_for
from hakaru.engine.lab import Lab
from hakaru.errors import MachineError
from hakaru.hardware.probe import probe_machine
from hakaru.language import say
from hakaru.memory.footprint import ContextSettings
from hakaru.memory.formula import formula_gigabytes
from hakaru.models.model import Model, read_model
from hakaru.models.sources.find import find_model
from hakaru.planning.placement import Alternative, free_for_models, judge, leaves_gpu_idle
from hakaru.tuning.check import Check, check_memory, ways_out
from hakaru.tuning.ledger import Ledger
from hakaru.units import format_bytes, format_params, parse_bytes


def run(*, model: str, memory: str | None, json: bool, **options: Any) -> int:
    """Print the footprint of a model. Returns 3 if it does not fit."""
    source = find_model(model)
    found = read_model(source.path)
    settings = any_settings_for(found, **options)
    machine, lab = probe_machine(), Lab()
    check = check_memory(found, settings, machine=machine, ledger=_ledger(), engine=lab)
    free = parse_bytes(memory) if memory else free_for_models(machine, check.best)
    verdict = judge(check.best.total_bytes, free)
    ways = ways_out(found, check, free, settings, engine=lab) if verdict != "fits" else []
    if json:
        print_json(_as_json(found, source.origin, settings, check, free, verdict, ways))
    else:
        if leaves_gpu_idle(machine, check.best):
            warn_idle_gpu()
        _print(found, settings, check, free, verdict, ways)
        if source.fetch and verdict != "does_not_fit":
            next_step(source.fetch)
    return 3 if verdict == "does_not_fit" else 0


def _ledger() -> Ledger | None:
    """The ledger; or None, said on stderr, where it cannot be written: the question can be answered all the same."""
    try:
        return Ledger()
    except MachineError as error:
        print(say("hakaru: nothing is remembered: {reason}", reason=error), file=sys.stderr)
        return None


def _as_json(
    model: Model, origin: str, settings: ContextSettings, check: Check, free: int, verdict: str, ways: list[Alternative]
) -> dict[str, Any]:
    shown = check.computed or check.dry_run
    return {
        "schema": "hakaru.fit/1",
        "verdict": verdict,
        "model": {"name": model.name, "path": str(model.path), "origin": origin, "architecture": model.shape.architecture, "type": model.type_name,
                  "n_params": model.n_params, "bpw": model.bpw, "n_ctx_train": model.shape.n_ctx_train},
        "context": settings.n_ctx,
        "parts": shown.parts(),
        "parts_source": shown.source,
        "total_bytes": shown.total_bytes,
        "formula_gigabytes": round(formula_gigabytes(model.n_params, model.bpw), 6),
        "devices": [{"name": "accelerators" if check.best.accelerator_bytes else "RAM", "free_bytes": free, "headroom_bytes": free - check.best.total_bytes}],
        "flags": ["-c", str(settings.n_ctx), "-ub", str(settings.n_ubatch), "-np", str(settings.n_parallel),
                  "-ctk", settings.type_k, "-ctv", settings.type_v],
        "dry_run": check.dry_run.parts() | {"total_bytes": check.dry_run.total_bytes},
        "alternatives": [{"flag": w.flag, "frees_bytes": w.frees_bytes, "fits": w.fits} for w in ways],
    }  # fmt: skip


def _print(model: Model, settings: ContextSettings, check: Check, free: int, verdict: str, ways: list[Alternative]) -> None:
    print_text(say("{name} ({architecture}, {type}, {params} parameters) at {n_ctx} tokens of context",
              name=model.name, architecture=model.shape.architecture, type=model.type_name,
              params=format_params(model.n_params), n_ctx=settings.n_ctx))  # fmt: skip
    if model.shape.n_ctx_train and settings.n_ctx // settings.n_parallel > model.shape.n_ctx_train:
        print_text(say("The model was trained for {n} tokens; hakaru serve refuses more.", n=model.shape.n_ctx_train))
    print_table(["", say("computed"), say("dry run"), say("difference")], _rows(check))
    if check.computed is None:
        print_text(say("hakaru has no arithmetic for the architecture '{architecture}' yet; the engine's dry run is the answer.",
                  architecture=model.shape.architecture))  # fmt: skip
    print_text(say("Needs {needed} of the {free} that may be used: {verdict}.",
              needed=format_bytes(check.best.total_bytes), free=format_bytes(free), verdict=verdict_word(verdict)))  # fmt: skip
    for way in ways:
        sign = say("then it fits") if way.fits else say("not enough alone")
        print_text(say("  {flag} frees {bytes} ({sign})", flag=way.flag, bytes=format_bytes(way.frees_bytes), sign=sign))
    if verdict != "does_not_fit" and model.complete:
        next_step(f"hakaru test {model.path}")


def _rows(check: Check) -> list[list[str]]:
    labels = {
        "weights_bytes": say("weights"),
        "kv_cache_bytes": say("KV cache"),
        "compute_bytes": say("compute"),
        "output_bytes": say("output"),
        "overhead_bytes": say("process (assumed)"),
    }
    rows = []
    for key, label in [*labels.items(), ("total_bytes", say("total"))]:
        engine = getattr(check.dry_run, key)
        ours = getattr(check.computed, key) if check.computed else None
        difference = f"{ours - engine:+,} B" if ours is not None else "-"
        rows.append([label, format_bytes(ours) if ours is not None else "-", format_bytes(engine), difference])
    return rows
