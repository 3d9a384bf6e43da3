"""The part "Machine" of the page: the plan by which the model was loaded beside what the engine
took, what it holds now, and what it would take at other settings.

The page asks for the last two in pieces: what is held now every other second while somebody looks,
and a plan when a setting is changed. A plan is arithmetic, made for one reader at a time; the
memory is what was free before the model was loaded, which another load would find again.
"""

import threading
from collections.abc import Callable
from typing import Any

import psutil
from msgspec.structs import replace
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import BaseRoute, Route

from hakaru.engine.lab import Lab
from hakaru.errors import EngineDied, HakaruError, Misuse
from hakaru.formats.quant_types import CACHE_TYPES
from hakaru.hardware.machine import Machine
from hakaru.hardware.probe import probe_machine
from hakaru.language import say, spell_fields, use_language
from hakaru.ledger import Ledger
from hakaru.memory.context import any_settings_for
from hakaru.memory.settings import ContextSettings
from hakaru.pictures import page_file
from hakaru.planning.answer import Fit
from hakaru.planning.fit_at import fit_at
from hakaru.planning.sentences import verdict_sentences
from hakaru.planning.ways_out import in_words
from hakaru.planning.with_speculation import beside_for, checking
from hakaru.serving.serve_at import Loaded
from hakaru.serving.supervisor import Supervisor
from hakaru.units import format_bytes
from hakaru.web.devices_chart import devices_chart
from hakaru.web.pasted import options, shell_path
from hakaru.web.shared import PIECE, copy_words, language_of, own_pages_only

Told = list[tuple[str, str]]
"""Labels, and what stands beside them."""


def machine_part(loaded: Loaded) -> dict[str, Any]:
    """What the template shows, in the language in use."""
    growth = loaded.fit.growth.sentence()
    return {
        "title": say("Machine"),
        "facts": _facts(loaded),
        "planned_title": say("Memory: planned, and allocated"),
        "memory": devices_chart(loaded.fit.placement, allocated(loaded.supervisor)),
        "sentences": [
            say(
                "Planned is what hakaru fit says that it needs; allocated is what the engine took."
            ),
            *([growth] if growth else []),
        ],
        "now_title": say("Held now"),
        "what_if_title": say("What if"),
        "what_if_text": say(
            "What this model would take at other settings, beside what was free before it was "
            "loaded. Nothing is changed."
        ),
        "labels": _labels(),
        "settings": loaded.supervisor.settings,
        "caches": CACHE_TYPES,
        "ask": say("Work it out"),
        "waiting": say("Planning …"),
    }


def _labels() -> dict[str, str]:
    return {
        "n_ctx": say("Context, tokens"),
        "type_k": say("Type of the KV cache"),
        "n_parallel": say("Conversations at the same time"),
    }


def _facts(loaded: Loaded) -> Told:
    settings, machine = loaded.supervisor.settings, loaded.machine
    ram = machine.memory.limit_bytes or machine.memory.total_bytes
    return [
        (
            say("Machine"),
            " · ".join(
                [
                    say(
                        "{model}, {cores} cores",
                        model=machine.cpu.model,
                        cores=machine.cpu.usable_cores,
                    ),
                    say("{bytes} of RAM", bytes=format_bytes(ram)),
                    *[device.name for device in machine.accelerators],
                ]
            ),
        ),
        (say("Context"), say("{n} tokens", n=f"{settings.n_ctx:,}")),
        (say("Conversations at the same time"), str(settings.n_parallel)),
        (say("Type of the KV cache"), " / ".join(dict.fromkeys(settings.cache))),
    ]


def allocated(supervisor: Supervisor) -> tuple[int | None, ...]:
    """Bytes that the engine took by its own log, in the order of `Share.bar`; what it does not log
    is None, and while no engine runs all are.
    """
    try:
        log = supervisor.server.log.footprint()
    except EngineDied:
        return (None,) * 5
    return (log.weights_bytes, log.kv_cache_bytes, log.compute_bytes + log.output_bytes, None, None)


def held_now(supervisor: Supervisor) -> Told:
    """What the engine's processes hold of the RAM, and what is free of every memory."""
    told = [(say("The engine's process"), _resident(supervisor))]
    machine = probe_machine()
    told.append((say("Free RAM"), format_bytes(machine.memory.available_bytes)))
    for device in machine.devices:
        free = device.free_bytes
        name = say("Free on {device}", device=device.name)
        told.append((name, say("not told") if free is None else format_bytes(free)))
    if supervisor.restarts:
        told.append((say("Restarts"), str(supervisor.restarts)))
    return told


def _resident(supervisor: Supervisor) -> str:
    try:
        server = supervisor.server
        now = format_bytes(psutil.Process(server.engine_pid).memory_info().rss)
    except (psutil.Error, EngineDied):
        return say("is not running")
    peak = server.peak_rss_bytes()
    if peak is None:
        return say("{bytes} of the RAM", bytes=now)
    return say("{bytes} of the RAM, at most {peak}", bytes=now, peak=format_bytes(peak))


def what_if(loaded: Loaded, settings: ContextSettings) -> Fit:
    """The plan for the served model at other settings. Raises what `fit_at` raises."""
    machine = _as_planned(loaded)
    mode = loaded.supervisor.mode
    ledger = Ledger(keeps=False)
    try:
        return fit_at(
            loaded.fit.model,
            checking(settings, mode.speculation),
            machine=machine,
            ledger=ledger,
            engine=Lab(),
            source="computed",
            find_max=True,
            beside=beside_for(loaded.fit.model, mode, machine),
            n_gpu_layers=mode.named_gpu_layers,
        )
    finally:
        ledger.close()


def _as_planned(loaded: Loaded) -> Machine:
    """The machine with the memory that the plan of the served model found free."""
    hardware, machine = loaded.fit.hardware, loaded.machine
    memory = machine.memory
    if hardware.ram:
        memory = replace(memory, available_bytes=hardware.ram.usable_bytes)
    return replace(machine, memory=memory, devices=hardware.accelerators)


def machine_routes(loaded: Loaded, runnable: Callable[[str], str]) -> list[BaseRoute]:
    """The routes of the pieces."""
    planning = threading.Lock()

    def now(request: Request) -> Response:
        use_language(language_of(request))
        held = held_now(loaded.supervisor)
        return HTMLResponse(page_file.render("machine_now.html", now=held), headers=PIECE)

    def plan(request: Request) -> Response:  # in a thread: it computes
        use_language(language_of(request))
        spell_fields(_labels())
        status, told = 200, dict[str, Any]()
        try:
            with planning:
                told = _plan_told(loaded, _asked(request, loaded), runnable)
        except HakaruError as error:
            status, told = 400, {"sentences": [str(error)]}
        page = page_file.render("machine_plan.html", **told, **copy_words())
        return HTMLResponse(page, status, headers=PIECE)

    return [
        Route("/machine/now", own_pages_only(now)),
        Route("/machine/plan", own_pages_only(plan)),
    ]


def _asked(request: Request, loaded: Loaded) -> ContextSettings:
    """The settings of a question; what it does not name is as served. Raises Misuse."""
    served = loaded.supervisor.settings
    cache = request.query_params.get("cache", served.type_k)
    return any_settings_for(
        loaded.fit.model,
        kv_unified=served.kv_unified,
        n_ctx=_number(request, "n_ctx", served.n_ctx),
        n_ubatch=served.n_ubatch,
        type_k=cache,
        type_v=cache,
        n_parallel=_number(request, "n_parallel", served.n_parallel),
    )


def _number(request: Request, name: str, default: int) -> int:
    text = request.query_params.get(name, str(default))
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise Misuse("{name} is '{found}', expected a whole number.", name=f"`{name}`", found=text)
    return int(text)


def _plan_told(
    loaded: Loaded, settings: ContextSettings, runnable: Callable[[str], str]
) -> dict[str, Any]:
    fit = what_if(loaded, settings)
    told = verdict_sentences(fit.placement, fit.margin.fraction)
    if fit.max_context:
        told.append(say("It fits up to {n} tokens of context.", n=f"{fit.max_context:,}"))
    if fit.verdict == "does_not_fit":
        told.append(say("Ways out: {ways}.", ways=in_words(fit.alternatives)))
    return {
        "sentences": told,
        "memory": devices_chart(fit.placement),
        "command": runnable(f"hakaru serve {shell_path(fit.model)}{options(fit.model, settings)}"),
        "command_label": say("To serve it so:"),
    }
