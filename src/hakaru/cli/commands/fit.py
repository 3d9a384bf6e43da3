"""`hakaru fit`: memory by part and by device, computed and dry-run, the verdict, and what would
change it.
"""

from dataclasses import asdict, replace

from hakaru.cli.options import FitOptions
from hakaru.cli.output import next_step, print_json, print_text, warn_idle_gpu, warn_silent_devices
from hakaru.cli.tell.fit import as_json, print_fit
from hakaru.cli.terminal import terminal_session
from hakaru.errors import Misuse
from hakaru.hardware.catalogue import parse_hardware
from hakaru.hardware.machine import Hardware, named_ram
from hakaru.hardware.probe import probe_machine
from hakaru.memory.context import any_settings_for
from hakaru.memory.settings import ContextSettings
from hakaru.models.model import Model, as_preset, read_language_model, read_model
from hakaru.models.sources.find import find_model
from hakaru.planning.backends import backend_of
from hakaru.planning.extras import Beside, Extra, draft_extra, mtp_extra, projector_extra
from hakaru.planning.fit import fit
from hakaru.planning.here import leaves_gpu_idle
from hakaru.servers import beside_servers
from hakaru.units import parse_bytes


def run(options: FitOptions) -> int:
    """Print the footprint of a model and where it goes. Returns 3 if it does not fit."""
    place = _place(options.hardware, options.memory)
    found = find_model(options.model)
    whole = read_language_model(found.path)
    settings = any_settings_for(whole, kv_unified=options.kv_unified, **options.as_context())
    machine = beside_servers(probe_machine(), whole.parts)
    if place is None:
        warn_silent_devices(machine)
    variant = as_preset(whole, options.type_) if options.type_ else whole
    beside = _beside(variant, place or Hardware(accelerators=machine.devices), options)
    session = terminal_session(machine, keeps=False)
    answer = fit(
        whole,
        settings,
        machine=machine,
        ledger=session.ledger,
        engine=session.lab,
        hardware=place,
        source=options.source,
        find_max=options.max_context,
        preset=options.type_,
        beside=beside,
    )
    terms = answer.explanation() if options.explain_terms else []
    if options.plot:
        from hakaru.pictures.memory import save_memory_picture

        save_memory_picture(answer, options.plot)
    if options.json:
        stored = {"checkpoint": asdict(found.stored)} if found.stored else {}
        print_json(as_json(answer, found.origin, terms) | stored)
    else:
        if place is None and answer.dry_run and leaves_gpu_idle(machine, answer.dry_run):
            warn_idle_gpu(machine)
        if found.note:
            print_text(found.note)
        for note in answer.hardware.notes:
            print_text(note)
        print_fit(answer, terms)
        if found.fetch and answer.verdict != "does_not_fit":
            next_step(found.fetch)
        elif answer.verdict != "does_not_fit" and not found.stored:
            next_step(f"hakaru test {options.model}")
    return 3 if answer.verdict == "does_not_fit" else 0


def _beside(model: Model, place: Hardware, options: FitOptions) -> Beside:
    """What was named to be loaded beside the model, at any settings."""
    mmproj, draft, mtp, ask_engine = (
        options.mmproj,
        options.draft,
        options.mtp,
        options.source != "computed",
    )
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


def _place(hardware: str | None, memory: str | None) -> Hardware | None:
    """The machine that was named, or None for this one."""
    if hardware and memory:
        raise Misuse(
            "--hardware and --memory both say where the model should go; give one of them."
        )
    if memory:
        return Hardware(accelerators=(), ram=named_ram(parse_bytes(memory)))
    return replace(parse_hardware(hardware), text=hardware) if hardware else None
