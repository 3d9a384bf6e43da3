"""The part "Machine" of the page: the plan by which the model was loaded beside what the engine
took, what it holds now, and what a model would take at other settings (`what_if`). Of several
models each has a piece of its own.

The page asks for what is held now every other second, while somebody looks.
"""

from collections.abc import Callable
from typing import Any

import psutil
from starlette.requests import Request
from starlette.routing import BaseRoute, Route

from hakaru.errors import EngineDied
from hakaru.hardware.machine import Machine
from hakaru.hardware.probe import probe_machine
from hakaru.language import say, together
from hakaru.memory.settings import ContextSettings
from hakaru.serving.supervisor import Supervisor
from hakaru.units import format_bytes
from hakaru.web.devices_chart import devices_chart
from hakaru.web.lineup import Lineup, Served
from hakaru.web.shared import piece
from hakaru.web.what_if import plan_route, what_if_part

Told = list[tuple[str, str]]
"""Labels, and what stands beside them."""


def machine_part(lineup: Lineup) -> dict[str, Any]:
    """What the template shows, in the language in use. Of several models each has a piece."""
    return {
        "title": say("Machine"),
        "of": None if lineup.are_several else machine_of(lineup, lineup.named(None)),
        "several": _several(lineup) if lineup.are_several else None,
        "what_if": what_if_part(lineup),
    }


def _several(lineup: Lineup) -> dict[str, Any]:
    return {
        "title": say("The models of this server"),
        "rows": states(lineup),
        "label": say("Model"),
        "names": [one.name for one in lineup.now()],
        "show": say("Show"),
        "waiting": say("Looking …"),
    }


def machine_of(lineup: Lineup, one: Served) -> dict[str, Any]:
    """What is told of one model, in the language in use."""
    told: dict[str, Any] = {
        "said": one.name,
        "facts": _facts(lineup.machine, one.settings),
        "now_title": say("Held now"),
    }
    if (loaded := one.loaded) is None:
        nothing = say(
            "{model} is not loaded. The first request that names it loads it.", model=one.name
        )
        return told | {"sentences": [nothing], "now": held_now(one)}
    growth = loaded.fit.growth
    return told | {
        "planned_title": say("Memory: planned, and allocated"),
        "memory": devices_chart(loaded.fit.placement, allocated(loaded.supervisor)),
        "sentences": [
            say(
                "Planned is what hakaru fit says that it needs; allocated is what the engine took."
            ),
            *filter(None, (growth.sentence(), growth.of_prompts())),
        ],
        "now": held_now(one),
    }


def states(lineup: Lineup) -> Told:
    """Every model with what it does now."""
    return [(one.name, _state(one)) for one in lineup.now()]


def _state(one: Served) -> str:
    if one.loaded is None:
        return say("being loaded") if one.state == "loading" else say("not loaded")
    holds = _resident(one.loaded.supervisor)
    if one.idle_s is None:
        return together([say("answers now;"), holds])
    return together([say("idle for {n} s;", n=round(one.idle_s)), holds])


def _facts(machine: Machine, settings: ContextSettings) -> Told:
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


def held_now(one: Served) -> Told:
    """What the engine's processes hold of the RAM, and what is free of every memory."""
    holds = _resident(one.loaded.supervisor) if one.loaded else say("is not running")
    told = [(say("The engine's process"), holds)]
    machine = probe_machine()
    told.append((say("Free RAM"), format_bytes(machine.memory.available_bytes)))
    for device in machine.devices:
        free = device.free_bytes
        name = say("Free on {device}", device=device.name)
        told.append((name, say("not told") if free is None else format_bytes(free)))
    if one.loaded and (n := one.loaded.supervisor.restarts):
        told.append((say("Restarts"), str(n)))
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


def machine_routes(lineup: Lineup, runnable: Callable[[str], str]) -> list[BaseRoute]:
    """The routes of the pieces."""

    def of(request: Request) -> dict[str, Any]:
        return {"of": machine_of(lineup, lineup.named(request.query_params.get("model")))}

    def now(request: Request) -> dict[str, Any]:
        return {"now": held_now(lineup.named(request.query_params.get("model")))}

    return [
        Route("/machine/of", piece("machine_of.html", of)),
        Route("/machine/now", piece("machine_now.html", now)),
        Route("/machine/states", piece("machine_now.html", lambda _: {"now": states(lineup)})),
        plan_route(lineup, runnable),
    ]
