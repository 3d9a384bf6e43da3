"""A load that ran out of memory although its plan had enough: it is planned again with less, and
what was learned holds for the next time.

The free memory that a plan begins with is the system's word. Another program may take some of it
meanwhile, a container may allow less, and a driver may need more than was seen. So the next plan
has nine tenths of what could not be had. Less goes onto accelerators, or else the first way out is
taken that needs no other file: a smaller KV cache, a smaller micro-batch, a shorter context. The
ledger keeps what could not be had and how much memory was said to be free; while no more is free
than then, the same model at the same settings is planned with less at once.
"""

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, Final, TypeVar

from msgspec.structs import asdict, replace

from hakaru.engine.builds import server_build
from hakaru.engine.mode import Mode
from hakaru.errors import EngineOutOfMemory, MachineError
from hakaru.language import listed, say
from hakaru.memory.settings import ContextSettings
from hakaru.models.model import Model
from hakaru.planning.answer import Fit
from hakaru.planning.to_load import NothingLoaded
from hakaru.serving.plan_to_load import plan_to_load
from hakaru.session import Session, nobody_listens
from hakaru.units import format_bytes, size_in_bytes

KIND: Final = "out_of_memory"
LESS: Final = 0.9
TRIES: Final = 4
AS_FREE: Final = 1.1
"""So many times as much free memory as at that load is taken for as much: programs come and go."""
T = TypeVar("T")


def loaded_somehow(
    load: Callable[[Fit, Mode], T],
    model: Model,
    settings: ContextSettings,
    mode: Mode,
    session: Session,
    *,
    plan: tuple[Fit, Mode] | None = None,
    memory: str | int | None = None,
    warns_of_idle_gpu: bool = False,
) -> T:
    """What `load` makes of the plan, or of a smaller one where memory runs out; a warning tells
    what was changed, and why. `plan`: where it was made already. Raises NothingLoaded,
    EngineOutOfMemory where no smaller plan is of use, and what `load` raises.
    """
    plan = plan or plan_to_load(
        model, settings, mode, session, memory=memory, warns_of_idle_gpu=warns_of_idle_gpu
    )
    most = size_in_bytes(memory) if memory is not None else None
    if (lesson := _lesson(plan[0], settings, session)) is not None:
        why = say(
            "The last load of this model here ran out of memory with {needed}.",
            needed=format_bytes(lesson),
        )
        with suppress(NothingLoaded):  # then it is tried as it was asked for
            plan = _with_less(plan, settings, session, _less(lesson, most), why)
    for _ in range(TRIES - 1):
        try:
            return load(*plan)
        except EngineOutOfMemory as death:
            needed, free = _place(plan[0])
            _remember(plan[0], settings, session)
            why = say(
                "The engine ran out of memory while it loaded {path}: the plan needs {needed} of "
                "the {free} that were free.",
                path=model.path,
                needed=format_bytes(needed),
                free=format_bytes(free),
            )
            try:
                plan = _with_less(plan, settings, session, _less(needed, most), why)
            except NothingLoaded:
                raise death from None
    return load(*plan)


def _less(needed: int, most: int | None) -> int:
    limit = int(LESS * needed)
    return limit if most is None else min(limit, most)


def _with_less(
    plan: tuple[Fit, Mode], settings: ContextSettings, session: Session, limit: int, why: str
) -> tuple[Fit, Mode]:
    """A plan for the model of `plan` within `limit` bytes; a warning says why, and what differs.
    Raises NothingLoaded.
    """
    before, mode = plan
    quiet = replace(session, note=nobody_listens)  # that it is tight within the limit is no news
    try:
        smaller = plan_to_load(before.model, settings, mode, quiet, memory=limit)
    except NothingLoaded as refusal:
        ways = (way.change for way in refusal.fit.alternatives if way.fits)
        change = next((c for c in ways if c.preset is None and c.ram_bytes is None), None)
        if change is None:
            raise
        changed = change.applied(settings)
        smaller = plan_to_load(before.model, changed, mode, quiet, memory=limit)
    session.warn(
        say(
            "{why} It is loaded with less: {changes}.",
            why=why,
            changes=listed(tuple(_changes(before, smaller[0]))),
        )
    )
    return smaller


def _changes(before: Fit, after: Fit) -> Iterator[str]:
    """What differs between two plans, for people."""
    was, now = before.settings, after.settings
    if now.n_ctx != was.n_ctx:
        yield say("{n:,} tokens of context instead of {before:,}", n=now.n_ctx, before=was.n_ctx)
    if now.cache != was.cache:
        yield say(
            "a KV cache of {types} instead of {before}",
            types="/".join(now.cache),
            before="/".join(was.cache),
        )
    if now.n_ubatch != was.n_ubatch:
        yield say(
            "micro-batches of {n} tokens instead of {before}", n=now.n_ubatch, before=was.n_ubatch
        )
    layers = after.placement.layout.n_gpu_layers
    if layers != (had := before.placement.layout.n_gpu_layers):
        yield say("{n} layers on accelerators instead of {before}", n=layers, before=had)
    yield say("{bytes} in all", bytes=format_bytes(after.total_bytes))


def _place(fit: Fit) -> tuple[int, int]:
    """Bytes that the plan needs at the load where it is fullest, in RAM or on all accelerators, and
    bytes that were free there. Prompts come later, and into what is left.
    """
    placement = fit.placement
    is_ram = placement.fullest.device == placement.ram.device
    shares = (placement.ram,) if is_ram else placement.shares
    needed = sum(s.needed_bytes - s.prompts_bytes for s in shares)
    return needed, sum(s.device.usable_bytes for s in shares)


def _inputs(fit: Fit, settings: ContextSettings, session: Session) -> dict[str, Any]:
    return {
        "machine": session.machine.fingerprint,
        "model": fit.model.layout_digest,
        "settings": asdict(settings),
        "engine": server_build(),
    }


def _remember(fit: Fit, settings: ContextSettings, session: Session) -> None:
    needed, free = _place(fit)
    with suppress(MachineError):  # a full disk keeps nobody from serving
        session.ledger.remember(
            KIND, _inputs(fit, settings, session), {"needed_bytes": needed, "free_bytes": free}
        )


def _lesson(fit: Fit, settings: ContextSettings, session: Session) -> int | None:
    """Bytes that could not be had at the last load of this kind; None where there was none, where
    more is free now, or where this plan needs less anyhow.
    """
    row = session.ledger.recall(KIND, _inputs(fit, settings, session))
    needed, free = _place(fit)
    if row is None or free > AS_FREE * row["free_bytes"] or needed < LESS * row["needed_bytes"]:
        return None
    return int(row["needed_bytes"])
