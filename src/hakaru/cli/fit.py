"""`hakaru fit`: memory by part and by device, computed and dry-run, the verdict, and what would change it."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from hakaru.cli.asked import session_that_asks
from hakaru.cli.output import next_step, print_json, print_table, print_text, warn_idle_gpu, warn_silent_devices
from hakaru.cli.settings import any_settings_for
from hakaru.cli.verdict import verdict_sentences, ways_sentences
from hakaru.errors import Misuse
from hakaru.hardware.catalogue import parse_hardware
from hakaru.hardware.machine import Hardware, named_ram
from hakaru.hardware.probe import probe_machine
from hakaru.language import say
from hakaru.memory.explain import Term
from hakaru.memory.formula import formula_gigabytes
from hakaru.memory.settings import ContextSettings
from hakaru.models.model import Model, as_preset, read_language_model, read_model
from hakaru.models.sources.find import find_model
from hakaru.planning.backends import backend_of
from hakaru.planning.here import leaves_gpu_idle
from hakaru.planning.placement import Placement
from hakaru.serving.deployment import beside_servers
from hakaru.tuning.extras import Beside, Extra, draft_extra, mtp_extra, projector_extra
from hakaru.tuning.fit import FigureSource, Fit, Fitter
from hakaru.units import format_bytes, format_params, parse_bytes


def run(
    *,
    model: str,
    type_: str | None,
    hardware: str | None,
    memory: str | None,
    mmproj: Path | None,
    draft: str | None,
    mtp: bool,
    source: FigureSource,
    max_context: bool,
    explain_terms: bool,
    plot: Path | None,
    json: bool,
    **options: Any,
) -> int:
    """Print the footprint of a model and where it goes. Returns 3 if it does not fit."""
    place = _place(hardware, memory)
    found = find_model(model)
    whole = read_language_model(found.path)
    settings = any_settings_for(whole, **options)
    machine = beside_servers(probe_machine(), whole.parts)
    if place is None:
        warn_silent_devices(machine)
    variant = as_preset(whole, type_) if type_ else whole
    beside = _beside(variant, place or Hardware(accelerators=machine.devices), mmproj=mmproj, draft=draft, mtp=mtp,
                     ask_engine=source != "computed")  # fmt: skip
    session = session_that_asks(machine)
    fitter = Fitter(machine=machine, ledger=session.ledger, engine=session.lab)
    fit = fitter.fit(whole, settings, hardware=place, source=source, find_max=max_context, preset=type_, beside=beside)
    terms = fit.explanation() if explain_terms else []
    if plot:
        from hakaru.pictures.memory import save_memory_picture

        save_memory_picture(fit, plot)
    if json:
        stored = {"checkpoint": asdict(found.stored)} if found.stored else {}
        print_json(as_json(fit, found.origin, terms) | stored)
    else:
        if place is None and fit.dry_run and leaves_gpu_idle(machine, fit.dry_run):
            warn_idle_gpu()
        if found.note:
            print_text(found.note)
        for note in fit.hardware.notes:
            print_text(note)
        print_fit(fit, terms)
        if found.fetch and fit.verdict != "does_not_fit":
            next_step(found.fetch)
        elif fit.verdict != "does_not_fit" and not found.stored:
            next_step(f"hakaru test {model}")
    return 3 if fit.verdict == "does_not_fit" else 0


def _beside(model: Model, place: Hardware, *, mmproj: Path | None, draft: str | None, mtp: bool, ask_engine: bool) -> Beside:
    """What was named to be loaded beside the model, at any settings."""
    if draft and mtp:
        raise Misuse("--draft and --mtp both say what drafts; give one of them.")
    backend = backend_of(place.accelerators[0]) if place.accelerators else "cpu"
    projector = (projector_extra(mmproj, ask_engine=ask_engine),) if mmproj else ()
    drafts = read_model(find_model(draft).path) if draft else None

    def beside(settings: ContextSettings) -> tuple[Extra, ...]:
        if drafts:
            return (*projector, draft_extra(model, drafts, settings, backend=backend))
        return (*projector, mtp_extra(model, settings, backend=backend)) if mtp else projector

    return beside


def _print_extra(extra: Extra) -> None:
    told = {"dry_run": say("dry run"), "assumed": say("assumed, 0 to 15 % above the engine's own figure for ten projectors")}
    print_text(say("Beside it: {name}, {bytes}: weights {weights}, KV cache {kv}, compute {compute} ({source}), in RAM {host}",
                   name=extra.name, bytes=format_bytes(extra.bytes), weights=format_bytes(extra.weights_bytes),
                   kv=format_bytes(extra.kv_cache_bytes), compute=format_bytes(extra.compute_bytes),
                   source=told.get(extra.source, say("computed")), host=format_bytes(extra.host_bytes)))  # fmt: skip
    if extra.growth_bytes:
        print_text(say("{bytes} of it are taken when the largest picture comes (assumed); --image-max-tokens of llama-server bounds it.",
                       bytes=format_bytes(extra.growth_bytes)))  # fmt: skip


def _place(hardware: str | None, memory: str | None) -> Hardware | None:
    """The machine that was named, or None for this one."""
    if hardware and memory:
        raise Misuse("--hardware and --memory both say where the model should go; give one of them.")
    if memory:
        return Hardware(accelerators=(), ram=named_ram(parse_bytes(memory)))
    return replace(parse_hardware(hardware), text=hardware) if hardware else None


def flags(fit: Fit) -> list[str]:
    """The arguments of llama-server that make this plan; none for what does not fit."""
    settings = fit.settings
    if fit.verdict == "does_not_fit":
        return []
    no_prompts = ["--cache-ram", "0"]  # llama-server would keep up to 8 GiB of old prompts in RAM
    return settings.as_flags() + no_prompts + fit.placement.layout.flags()


def as_json(fit: Fit, origin: str, terms: list[Term]) -> dict[str, Any]:
    """The object of `hakaru fit --json`."""
    model, settings, shown = fit.model, fit.settings, fit.computed or fit.best
    data: dict[str, Any] = {
        "schema": "hakaru.fit/1",
        "verdict": fit.verdict,
        "model": {"name": model.name, "path": str(model.path), "origin": origin, "architecture": model.shape.architecture,
                  "type": model.type_name, "n_params": model.n_params, "bpw": model.bpw, "n_ctx_train": model.shape.n_ctx_train},
        "context": settings.n_ctx,
        "parts": shown.parts() | {name: n for name, n in fit.growth.as_json().items() if name in GROWTH},
        "growth": fit.growth.as_json(),
        "parts_source": shown.source,
        "total_bytes": fit.total_bytes,
        "formula_gigabytes": round(formula_gigabytes(model.n_params, model.bpw), 6),
        "hardware_notes": list(fit.hardware.notes),
        "placement_source": "computed" if fit.is_modelled else "assumed",
        "devices": [s.as_json() for s in fit.placement.devices],
        "flags": flags(fit),
        "dry_run": fit.dry_run.parts() | {"total_bytes": fit.dry_run.total_bytes} if fit.dry_run else None,
        "extras": [e.as_json() for e in fit.extras],
        "margin": fit.margin.as_json(),
        "max_context": fit.max_context,
        "alternatives": [way.as_json() for way in fit.alternatives],
    }  # fmt: skip
    if terms:
        data["terms"] = [{"part": t.part, "what": t.what, "formula": t.formula, "where": t.where, "bytes": t.bytes} for t in terms]
    return data


def print_fit(fit: Fit, terms: list[Term]) -> None:
    """The whole answer as text."""
    model, settings = fit.model, fit.settings
    print_text(say("{name} ({architecture}, {type}, {params} parameters) at {n_ctx} tokens of context",
              name=model.name, architecture=model.shape.architecture, type=model.type_name,
              params=format_params(model.n_params), n_ctx=settings.n_ctx))  # fmt: skip
    if terms:
        _print_terms(terms)
    print_table(["", say("computed"), say("dry run"), say("difference")], _rows(fit))
    if not fit.is_modelled:
        print_text(_unmodelled_sentence(fit))
    if checkpoints := fit.growth.sentence():
        print_text(checkpoints)
    for extra in fit.extras:
        _print_extra(extra)
    _print_devices(fit.placement)
    for sentence in verdict_sentences(fit.placement, fit.margin.fraction):
        print_text(sentence)
    print_text(fit.margin.sentence())
    if fit.verdict != "fits":
        for sentence in ways_sentences(fit.alternatives):
            print_text(sentence)
    if fit.max_context is not None:
        print_text(say("It fits comfortably up to {n} tokens of context.", n=f"{fit.max_context:,}") if fit.max_context else
              say("It does not fit even with a context of 256 tokens."))  # fmt: skip
    if found := flags(fit):
        print_text(say("llama-server flags: {flags}", flags=" ".join(found)))


def _unmodelled_sentence(fit: Fit) -> str:
    architecture = fit.model.shape.architecture
    if not fit.placement.shares:
        return say("hakaru has no arithmetic for the architecture '{architecture}' yet; the engine's dry run is the answer.",
                   architecture=architecture)  # fmt: skip
    return say("hakaru has no arithmetic for the architecture '{architecture}' yet. The weights of each device are exact, the sums are the engine's "
               "dry run; how much of the KV cache each layer keeps, and what each device computes with, is assumed.",
               architecture=architecture)  # fmt: skip


def _print_terms(terms: list[Term]) -> None:
    rows = [[t.what, t.formula, t.where, f"{t.bytes:,} B"] for t in terms]
    rows.append([say("total"), "", "", f"{sum(t.bytes for t in terms):,} B"])
    print_table([say("what"), say("formula"), say("read from"), say("bytes")], rows, left=3)


def _print_devices(placement: Placement) -> None:
    """One row per device, and a bar in which each part has its own sign, so that no colour is needed."""
    rows = [
        [share.device.name, str(share.layers), *(format_bytes(n) for n in share.bar),
         format_bytes(share.device.usable_bytes), bar(share.bar, share.device.usable_bytes)]
        for share in placement.devices
    ]  # fmt: skip
    print_table([say("device"), say("layers"), say("weights"), say("KV cache"), say("compute"), say("other"),
                 say("with use"), say("free"), "█ ▓ ▒ ░ + |"], rows)  # fmt: skip
    if converted := max(s.conversion_bytes for s in placement.devices):
        print_text(say("Of compute, {bytes} on an accelerator are for attention, which reads one layer's KV cache in F16.",
                  bytes=format_bytes(converted)))  # fmt: skip


BAR_CELLS = 24


def bar(parts: tuple[int, ...], limit: int) -> str:
    """Parts of `limit` in 24 cells, █ weights, ▓ KV cache, ▒ compute, ░ other, + with use, and | where the memory ends."""
    scale = BAR_CELLS / max(limit, sum(parts), 1)
    filled, done = "", 0.0
    for sign, part in zip("█▓▒░+", parts, strict=True):
        done += part
        filled += sign * (round(done * scale) - len(filled))
    edge = min(BAR_CELLS, round(limit * scale))
    cells = filled.ljust(BAR_CELLS)
    return cells[:edge] + "|" + cells[edge:]


GROWTH = ("checkpoints_bytes", "requests_bytes")


def _rows(fit: Fit) -> list[list[str]]:
    labels = {
        "weights_bytes": say("weights"),
        "kv_cache_bytes": say("KV cache"),
        "compute_bytes": say("compute"),
        "output_bytes": say("output"),
        "overhead_bytes": say("process (assumed)"),
    }
    come = {
        "checkpoints_bytes": say("context checkpoints, with use"),
        "requests_bytes": say("requests, with use (assumed)"),
    }
    growth = {key: getattr(fit.growth, key) for key in come}
    sides = [side.parts() | growth if side else {} for side in (fit.computed, fit.dry_run)]
    rows = []
    for key, label in (labels | {k: v for k, v in come.items() if growth[k]} | {"total": say("total")}).items():
        ours, engine = (side.get(key, sum(side.values())) if side else None for side in sides)
        difference = f"{ours - engine:+,} B" if ours is not None and engine is not None else "-"
        rows.append([label, *(format_bytes(v) if v is not None else "-" for v in (ours, engine)), difference])
    return rows
