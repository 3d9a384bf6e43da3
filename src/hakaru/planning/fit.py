"""Does it fit, and where: the verb behind `hakaru fit`."""

from dataclasses import replace
from pathlib import Path
from typing import Unpack

from hakaru.engine.unused import idle_gpu
from hakaru.errors import Misuse
from hakaru.hardware.machine import Hardware, named_ram
from hakaru.hardware.named_machine import parse_hardware
from hakaru.memory.context import Context, any_settings_for
from hakaru.memory.settings import ContextSettings
from hakaru.models.model import Model, as_preset, read_language_model, read_model
from hakaru.models.sources.find import Reference, find_model
from hakaru.planning.answer import Fit
from hakaru.planning.backends import backend_of
from hakaru.planning.extras import Beside, Extra, draft_extra, mtp_extra, projector_extra
from hakaru.planning.fit_at import FigureSource, fit_at
from hakaru.planning.here import leaves_gpu_idle
from hakaru.servers import beside_servers
from hakaru.session import Session
from hakaru.units import size_in_bytes


def fit(
    model: Reference,
    *,
    hardware: str | None = None,
    memory: str | int | None = None,
    preset: str | None = None,
    mmproj: Path | None = None,
    draft: Reference | None = None,
    mtp: bool = False,
    kv_unified: bool = False,
    source: FigureSource = "both",
    find_max: bool = False,
    session: Session | None = None,
    **context: Unpack[Context],
) -> Fit:
    """Whether `model` fits, what it takes of each device, and what would change the answer.

    Example: `fit("qwen3-8b", hardware="L4", n_ctx=8192).verdict` is `"fits"`.

    `hardware` names a machine, such as "2x L4" or "RTX 4090 + 64GiB RAM", and `memory` one that is
    only RAM, such as "16GiB"; with neither it is this machine, with the memory that is free now.
    `preset` judges the model as it would be at such a preset, which nobody needs to have built.
    A projector (`mmproj`), a `draft` model or the model's own layers for multi-token prediction
    (`mtp`) are loaded beside it. `find_max` also looks for the longest context that fits. Nothing
    but headers is fetched. Raises Misuse, ModelError, Offline and EngineError.
    """
    place = _place(hardware, memory)
    found = find_model(model)
    whole = model if isinstance(model, Model) else read_language_model(found.path)
    settings = any_settings_for(whole, kv_unified=kv_unified, **context)
    session = session or Session.here(keeps=False)
    machine = beside_servers(session.machine_now(), whole.parts)
    if place is None:
        session.warn_of_silence(machine)
    variant = as_preset(whole, preset) if preset else whole
    where = place or Hardware(accelerators=machine.devices)
    answer = fit_at(
        whole,
        settings,
        machine=machine,
        ledger=session.ledger,
        engine=session.lab,
        hardware=place,
        source=source,
        find_max=find_max,
        preset=preset,
        beside=_beside(variant, where, mmproj, draft, mtp=mtp, ask_engine=source != "computed"),
    )
    if place is None and answer.dry_run and leaves_gpu_idle(machine, answer.dry_run):
        session.warn(idle_gpu(machine))
    for note in ([found.note] if found.note else []) + list(answer.hardware.notes):
        session.note(note)
    return replace(answer, found=found)


def _beside(
    model: Model,
    place: Hardware,
    mmproj: Path | None,
    draft: Reference | None,
    *,
    mtp: bool,
    ask_engine: bool,
) -> Beside:
    """What was named to be loaded beside the model, at any settings."""
    if draft is not None and mtp:
        raise Misuse("`draft` and `mtp` both say what drafts; give one of them.")
    backend = backend_of(place.accelerators[0]) if place.accelerators else "cpu"
    projector = (projector_extra(mmproj, ask_engine=ask_engine),) if mmproj else ()
    drafts = read_model(find_model(draft).path) if draft is not None else None

    def beside(settings: ContextSettings) -> tuple[Extra, ...]:
        if drafts:
            return (*projector, draft_extra(model, drafts, settings, backend=backend))
        return (*projector, mtp_extra(model, settings, backend=backend)) if mtp else projector

    return beside


def _place(hardware: str | None, memory: str | int | None) -> Hardware | None:
    """The machine that was named, or None for this one."""
    if hardware is not None and memory is not None:
        raise Misuse(
            "`hardware` and `memory` both say where the model should go; give one of them."
        )
    if memory is not None:
        return Hardware(accelerators=(), ram=named_ram(size_in_bytes(memory)))
    return replace(parse_hardware(hardware), text=hardware) if hardware is not None else None
