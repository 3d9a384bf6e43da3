"""Whether a file is served with guesses ahead: what was measured of it here, and is remembered.

A row of the ledger holds for this kind of machine, this engine, the file, the KV cache and the
number of conversations: with several at a time the engine computes other batches. The context may
be another one.
"""

from collections.abc import Mapping
from typing import Any, Final

from hakaru.engine.speculation import Speculation
from hakaru.errors import EngineMissing, HakaruError
from hakaru.memory.settings import ContextSettings
from hakaru.models.model import Model, read_model
from hakaru.planning.timed_here import timed_here
from hakaru.session import Session

KIND: Final = "speculation"


def remember_speculation(
    session: Session, model: Model, settings: ContextSettings, result: Mapping[str, Any]
) -> None:
    """Keep what was measured with `model`, in the form of `Speculated.as_json`."""
    session.ledger.remember(
        KIND, _inputs(session, session.ledger.model_sha256(model), settings), result
    )


def recall_speculation(
    session: Session, model: Model, settings: ContextSettings
) -> dict[str, Any] | None:
    """What was measured of this very file; None where nothing was. No file is read for its hash."""
    sha256 = session.ledger.known_model_sha256(model)
    if sha256 is None:
        return None
    try:
        row: dict[str, Any] | None = session.ledger.recall(KIND, _inputs(session, sha256, settings))
    except EngineMissing:
        return None
    return row


def speculation_for(
    session: Session, model: Model, settings: ContextSettings
) -> Speculation | None:
    """The way to guess ahead that was taken for this file; None for none, and where its draft is
    not what it was.
    """
    row = recall_speculation(session, model, settings)
    taken = row["taken"] if row else None
    if not taken:
        return None
    way = Speculation.from_json(taken)
    if way.draft is None:
        return way
    try:
        draft = read_model(way.draft)
    except HakaruError:
        return None
    return way if session.ledger.known_model_sha256(draft) == taken["draft_sha256"] else None


def _inputs(session: Session, sha256: str, settings: ContextSettings) -> dict[str, object]:
    return {
        **timed_here(session.machine),
        "model": sha256,
        "type_k": settings.type_k,
        "type_v": settings.type_v,
        "n_parallel": settings.n_parallel,
    }
