"""The memory of the model that is served: what was planned beside what the engine took, part by
part.

The plan is the figure that `hakaru up` and `hakaru tune` say. What the engine took is told by the
engine's own log.
"""

from dataclasses import dataclass, replace

import psutil

from hakaru.errors import EngineDied
from hakaru.language import say
from hakaru.memory.footprint import Footprint
from hakaru.planning.answer import Fit
from hakaru.planning.here import grown
from hakaru.serving.serve_at import Loaded
from hakaru.serving.supervisor import Supervisor
from hakaru.units import byte_unit, bytes_told, format_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A part of the memory: a row of the table, and a piece of the bar above it."""

    label: str
    planned: str
    taken: str
    begin: str  # where the piece begins, in hundredths of the bar
    share: str  # how wide it is


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """The parts, their sums, and sentences below them."""

    parts: list[Part]
    planned: str
    taken: str
    sentences: list[str]


def planned(fit: Fit) -> Footprint:
    """What a decision plans for the model at its settings (`choosing.loop.needs_of`)."""
    return grown(fit.best, fit.model.shape, replace(fit.settings, n_checkpoints=None))


def memory_of(loaded: Loaded) -> Memory:
    """The memory, in the language in use."""
    plan = planned(loaded.fit)
    taken = _taken(loaded.supervisor)
    labels = {
        "weights_bytes": say("weights"),
        "kv_cache_bytes": say("KV cache"),
        "compute_bytes": say("compute"),
        "output_bytes": say("output"),
        "overhead_bytes": say("process and requests (assumed)"),
    }
    begin, parts, unit = 0.0, [], byte_unit(plan.total_bytes)
    for key, n_bytes in plan.parts().items():
        if not n_bytes and not taken.get(key):
            continue
        share = 100 * n_bytes / plan.total_bytes
        parts.append(
            Part(
                label=labels[key],
                planned=bytes_told(n_bytes, unit),
                taken=bytes_told(taken[key], unit) if taken.get(key) else "-",
                begin=f"{begin:.2f}",
                share=f"{share:.2f}",
            )
        )
        begin += share
    return Memory(
        parts=parts,
        planned=bytes_told(plan.total_bytes, unit),
        taken=bytes_told(sum(taken.values()), unit) if taken else "-",
        sentences=_sentences(loaded),
    )


def _taken(supervisor: Supervisor) -> dict[str, int]:
    """Bytes of each part, by the log of the engine; none while no engine runs."""
    try:
        return supervisor.server.log.footprint().parts()
    except EngineDied:
        return {}


def _sentences(loaded: Loaded) -> list[str]:
    told = [say("Planned is what hakaru up says that it needs; allocated is what the engine took.")]
    try:
        process = psutil.Process(loaded.supervisor.server.engine_pid)
        resident = format_bytes(process.memory_info().rss)
        told.append(say("Its process holds {bytes} of the RAM now.", bytes=resident))
    except (psutil.Error, EngineDied):
        pass
    growth = loaded.fit.growth.sentence()
    return [*told, growth] if growth else told
