"""The racers before the race: which of their files is fetched, how much that is, and how long the
race takes at most.

A row whose file is not to be had leaves its place to the next one. Where the type of a row is not
published, the most exact type that is and fits runs in its place, and that is said. Nothing is
fetched here but headers.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from hakaru.errors import (
    DoesNotFit,
    EngineError,
    HakaruError,
    MachineError,
    ModelError,
    ModelNotFound,
    Offline,
)
from hakaru.evaluation.speed import LONGEST_PREFILL_S, N_PREDICT, N_PROMPT, REPEATS
from hakaru.evaluation.tasks import Item
from hakaru.language import say
from hakaru.memory.context import Context
from hakaru.pulling.download import SPARE, Download
from hakaru.pulling.offers import type_in
from hakaru.pulling.pull import already_here, pull
from hakaru.selection.contender import Contender
from hakaru.selection.traffic import Traffic
from hakaru.session import Session, nobody_listens
from hakaru.units import format_bytes

FAILS: Final = (ModelError, DoesNotFit, Offline, EngineError, MachineError)
"""What puts one racer out of the race, and not the race itself."""
BYTES_PER_TOKEN: Final = 3
"""Of a prompt, in UTF-8: assumed, rather too few for English and about right for Japanese."""
TEMPLATE: Final = 40
"""Tokens that a chat template adds to a prompt: assumed."""


class Entrant(Struct, frozen=True, kw_only=True):
    """A row that runs, and where its file comes from."""

    row: Contender
    name: str  # what `pull` is asked for
    type: str  # of the file; another than the row's where that one is not published
    download: Download | None  # None: the file is on this disk
    path: Path | None = None  # of a file that is on this disk

    @property
    def missing_bytes(self) -> int:
        """That are to be fetched still."""
        return (self.download.missing_bytes or 0) if self.download else 0

    @property
    def label(self) -> str:
        """The model and its type."""
        return f"{self.row.model.id} {self.type}"


class Out(Struct, frozen=True, kw_only=True):
    """A row that does not run, or did not to the end, and why."""

    model: str
    type: str
    reason: str

    def as_json(self) -> dict[str, object]:
        """An entry of `left_out` in the object `race`."""
        return {"model": self.model, "type": self.type, "reason": self.reason}


class Field(Struct, frozen=True, kw_only=True):
    """Who runs, and what that takes."""

    entrants: tuple[Entrant, ...]
    out: tuple[Out, ...]
    items: tuple[Item, ...]  # the tasks

    @property
    def missing_bytes(self) -> int:
        """To be fetched for all."""
        return sum(entrant.missing_bytes for entrant in self.entrants)

    @property
    def fetch_s(self) -> float | None:
        """Seconds of the downloads at the speed of the last time; None: there was none."""
        seconds = [e.download.seconds for e in self.entrants if e.download and e.missing_bytes]
        return None if None in seconds else sum(s or 0.0 for s in seconds)

    def race_s(self, traffic: Traffic) -> float | None:
        """Seconds of timing and answering at most, without the loading; None where no speed is
        predicted.
        """
        each = [longest_s(entrant.row, self.items, traffic) for entrant in self.entrants]
        return None if None in each else sum(s or 0.0 for s in each)


def longest_s(row: Contender, items: Sequence[Item], traffic: Traffic) -> float | None:
    """Seconds in which a row is timed and answers all tasks to their limit of tokens, at the low
    ends of its predicted speeds.
    """
    decode, prefill = row.speeds.decode, row.speeds.prefill
    if decode is None or prefill is None:
        return None
    n_write = sum(item.max_tokens for item in items)
    n_read = sum(len(item.prompt.encode()) / BYTES_PER_TOKEN + TEMPLATE for item in items)
    depth_s = traffic.depth / prefill.low
    deep_s = REPEATS * (depth_s + N_PREDICT / decode.low) if depth_s <= LONGEST_PREFILL_S else 0.0
    empty_s = (REPEATS + 1) * (N_PROMPT / prefill.low + N_PREDICT / decode.low)
    return n_read / prefill.low + n_write / decode.low + empty_s + deep_s


def field_of(rows: Sequence[Contender], n: int, items: tuple[Item, ...], session: Session) -> Field:
    """The first `n` of the rows whose files are to be had, and for which the disk has room."""
    quiet = replace(session, note=nobody_listens, warn=nobody_listens)
    entrants, out, offline = list[Entrant](), list[Out](), False
    for row in rows:
        if len(entrants) == n:
            break
        try:
            entrant = _entrant(row, quiet, asks_network=not offline)
            _check_room(entrant, entrants)
        except FAILS as error:
            offline = offline or isinstance(error, Offline)
            out.append(Out(model=row.model.id, type=row.type, reason=str(error)))
            continue
        entrants.append(entrant)
    return Field(entrants=tuple(entrants), out=tuple(out), items=items)


def _entrant(row: Contender, session: Session, *, asks_network: bool) -> Entrant:
    """Raises what `pull` raises, and Offline without asking where the network was off before."""
    name = f"{row.model.id}:{row.type}"
    if path := already_here(name):
        return Entrant(row=row, name=name, type=row.type, download=None, path=path)
    if not asks_network:
        raise Offline("it is not on this disk, and the network did not answer.")
    try:
        return _of_pull(row, name, session)
    except ModelNotFound as missing:
        try:
            return _of_pull(row, row.model.id, session)
        except HakaruError:
            raise missing from None


def _of_pull(row: Contender, name: str, session: Session) -> Entrant:
    pulled = pull(name, dry_run=True, ask=_the_first, session=session, **context_of(row))
    download = pulled.download
    if download is None:
        return Entrant(row=row, name=name, type=row.type, download=None, path=pulled.path)
    if download.makes or download.fit is None:
        raise ModelNotFound("no file that fits is published at {origin}.", origin=download.origin)
    type_ = type_in(download.path.name) or row.type
    name = f"{row.model.id}:{type_}"  # the same file again, also where another type was asked for
    return Entrant(row=row, name=name, type=type_, download=download)


def _the_first(question: str, places: Sequence[str]) -> int:
    """Of several repositories the one that the catalogue names first."""
    return 0


def context_of(row: Contender) -> Context:
    """How a row is run, as verbs take it."""
    settings = row.task.settings
    return Context(
        n_ctx=settings.n_ctx, n_ubatch=settings.n_ubatch, type_k=settings.type_k,
        type_v=settings.type_v, n_parallel=settings.n_parallel,
    )  # fmt: skip


def bring(entrant: Entrant, session: Session) -> Path:
    """The file on this disk: fetched, or what came of it before completed. Raises what `pull`
    raises.
    """
    if entrant.path:
        return entrant.path
    context = context_of(entrant.row)
    return pull(entrant.name, ask=_the_first, session=session, **context).path


def _check_room(entrant: Entrant, before: Sequence[Entrant]) -> None:
    """Raises MachineError where the disk has no room for this one beside those that come before."""
    if entrant.download is None or not entrant.missing_bytes:
        return
    needed = entrant.missing_bytes + sum(other.missing_bytes for other in before)
    free = entrant.download.free_bytes - SPARE
    if needed > free:
        raise MachineError(
            "{path}: {needed} are needed there{others}, and {free} are free.",
            path=entrant.download.disk,
            needed=format_bytes(needed),
            others=say(" with those before it") if before else "",
            free=format_bytes(max(0, free)),
        )
