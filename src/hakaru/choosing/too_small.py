"""The refusal where not even the smallest level fits: what it needs, and what would help."""

from hakaru.choosing.candidate import SOURCE, Candidate
from hakaru.errors import DoesNotFit
from hakaru.hardware.machine import Hardware, named_ram
from hakaru.memory.settings import ContextSettings
from hakaru.models.model import Model
from hakaru.planning.fit_at import fit_at
from hakaru.planning.ways_out import in_words
from hakaru.session import Session
from hakaru.units import compared


def too_small(
    session: Session, model: Model, settings: ContextSettings, smallest: Candidate, limit_bytes: int
) -> DoesNotFit:
    """The refusal, with the ways out that `fit` finds for the smallest level in `limit_bytes`."""
    needed, free = compared(smallest.total_bytes, limit_bytes)
    return DoesNotFit(
        "{path}: even {type} needs {needed} at a context of {n_ctx:,} with a KV cache of {cache}, "
        "but {free} may be used; {ways}.",
        path=model.path,
        type=smallest.name if smallest.type == SOURCE else smallest.type,
        needed=needed,
        n_ctx=settings.n_ctx,
        cache=smallest.cache[0],
        free=free,
        ways=_ways(session, model, settings.with_cache(smallest.cache), smallest, limit_bytes),
    )


def _ways(
    session: Session, model: Model, settings: ContextSettings, smallest: Candidate, limit_bytes: int
) -> str:
    room = Hardware(accelerators=(), ram=named_ram(limit_bytes))
    preset = None if smallest.type == SOURCE else smallest.type
    answer = fit_at(
        model,
        settings,
        machine=session.machine,
        ledger=None,
        engine=session.lab,
        hardware=room,
        preset=preset,
    )
    return in_words(answer.alternatives)
