"""What a model loses against a reference: both read the same windows, compared token by token.

Every function asks the ledger of its session first. A key holds the hashes of the files, the
engine's build, the settings and the texts, so that nothing is read twice and nothing stale is used.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

from hakaru.engine.builds import lab_build
from hakaru.evaluation.divergence import check_same_tokenizer, gather_windows, identical, quality_of
from hakaru.evaluation.judgement import Judgement, best_tier, judge
from hakaru.evaluation.texts import Document, Part, prompts_at_hand, texts_at_hand, texts_digest
from hakaru.evaluation.tiers import TIERS, Quality, Tier
from hakaru.evaluation.windows import TEST_VERSION, Window, least_to_read, windows_digest
from hakaru.language import say
from hakaru.memory.settings import F16_CACHE, Cache
from hakaru.models.model import Model
from hakaru.session import Session
from hakaru.units import Figure

Row = Mapping[str, Any]
"""The sums of one window, as `Lab.compare` returns them."""
LEAST_FOR_INTERVALS: Final = 30
"""Windows that are read at least, so that the bootstrap's intervals can be believed."""
FLOOR_WINDOWS: Final = 12
"""Windows on which the noise floor is measured."""


class Tested(Struct, frozen=True, kw_only=True):
    """The result of reading windows against a tier. Reading stopped when the verdict was certain,
    when its time was spent, or at the last window.
    """

    quality: Quality
    judgement: Judgement  # what the windows that were read prove of the tier
    domains: Sequence[str]  # the kind of text of every window, also of the unread ones
    rows: Sequence[Row] = ()  # the sums of every window that was read

    @property
    def best_tier(self) -> str | None:
        """The strictest tier that is known to hold, or None."""
        return best_tier(self.rows, self.domains) if self.rows else next(iter(TIERS))


def windows_of(
    session: Session,
    reference: Model,
    *,
    parts: Sequence[Part],
    own: Sequence[Document] = (),
    prompts: Sequence[str] = (),
    n_documents: int | None = None,
    n_prompts: int | None = None,
    ask: bool = True,
) -> list[Window]:
    """The windows of these parts of the texts, with the answers of `reference` to the prompts.

    `reference` answers once: the ledger remembers the windows. `ask` False only recalls them: the
    list is empty if `reference` has not answered yet. The other arguments: see `gather_windows`.
    """
    inputs = {
        "reference": session.ledger.model_sha256(reference),
        "engine": lab_build(),
        "texts": texts_digest([*texts_at_hand(parts), *own]),
        "version": TEST_VERSION,
        "n_documents": n_documents,
        "n_prompts": n_prompts,
        "parts": parts,
        "prompts": [prompts_at_hand(parts), list(prompts)],
    }

    def gathered() -> list[dict[str, Any]]:
        windows = gather_windows(
            session.lab,
            reference,
            parts=parts,
            own=own,
            prompts=prompts,
            n_documents=n_documents,
            n_prompts=n_prompts,
            progress=partial(session.watch, say("prompts answered by the reference")),
        )
        return [{"domain": w.domain, **w.as_json()} for w in windows]

    rows = (
        session.ledger.remembered("windows", inputs, gathered)
        if ask
        else session.ledger.recall("windows", inputs)
    )
    return [
        Window(domain=w["domain"], tokens=tuple(w["tokens"]), first=w["first"]) for w in rows or []
    ]


def tested(
    session: Session,
    candidate: Model,
    reference: Model,
    windows: Sequence[Window],
    tier: Tier,
    *,
    cache: Cache = F16_CACHE,
    budget_s: float = math.inf,
    seen: Callable[[Sequence[Row]], None] = lambda rows: None,
    name: str = "",
) -> Tested:
    """What `candidate` with this KV cache loses against `reference` with F16's.

    Reads window after window, until the verdict is certain, all windows are read, or `budget_s`
    seconds are spent. `seen` is called with the rows that were read so far. `name` is what progress
    calls the candidate. Raises Misuse for another vocabulary.
    """
    end = time.monotonic() + budget_s
    check_same_tokenizer(reference, candidate)
    sha256, domains = session.ledger.model_sha256(candidate), [w.domain for w in windows]
    if _loses_nothing(session, sha256, reference, windows, cache):
        return Tested(quality=identical(), judgement=Judgement("pass"), domains=domains)

    def enough(rows: Sequence[Row]) -> bool:
        seen(rows)
        return _is_certain(rows, domains, tier) or (len(rows) > 0 and time.monotonic() > end)

    rows = divergences(
        session,
        {sha256: candidate.path},
        reference,
        windows,
        n=len(windows),
        cache=cache,
        enough=enough,
        name=name,
    )[sha256]
    return _judged(rows, domains, tier)


def known_test(
    session: Session,
    sha256: str,
    reference: Model,
    windows: Sequence[Window],
    tier: Tier,
    *,
    cache: Cache,
) -> Tested | None:
    """What `tested` would return for the file with this hash from the ledger alone; None where
    `tested` would read more windows.
    """
    domains = [w.domain for w in windows]
    if _loses_nothing(session, sha256, reference, windows, cache):
        return Tested(quality=identical(), judgement=Judgement("pass"), domains=domains)
    rows = known_rows(session, sha256, reference, windows, cache)
    is_enough = len(rows) >= len(windows) or _is_certain(rows, domains, tier)
    return _judged(rows, domains, tier) if is_enough else None


def _loses_nothing(
    session: Session, sha256: str, reference: Model, windows: Sequence[Window], cache: Cache
) -> bool:
    """Whether nothing needs to be read: the file is the reference itself, or there is no window."""
    is_reference = sha256 == session.ledger.model_sha256(reference) and cache == F16_CACHE
    return is_reference or not windows


def _is_certain(rows: Sequence[Row], domains: Sequence[str], tier: Tier) -> bool:
    least = max(LEAST_FOR_INTERVALS, least_to_read(domains))
    return len(rows) >= least and judge(rows, domains, tier).verdict != "inconclusive"


def _judged(rows: Sequence[Row], domains: Sequence[str], tier: Tier) -> Tested:
    return Tested(
        quality=quality_of(rows, domains),
        judgement=judge(rows, domains, tier),
        domains=domains,
        rows=rows,
    )


def divergences(
    session: Session,
    files: Mapping[str, Path],
    reference: Model,
    windows: Sequence[Window],
    *,
    n: int,
    cache: Cache = F16_CACHE,
    enough: Callable[[Sequence[Row]], bool] = lambda rows: False,
    name: str = "",
) -> dict[str, list[Row]]:
    """The rows of each file, by its SHA-256: of the first `n` windows, or of fewer if `enough`
    holds for the rows of every file.

    Rows that the ledger has are recalled. Files with equally many rows are read together, so that
    the reference runs once for all of them.
    """
    names = name or say(", ").join(path.stem for path in files.values())
    step = say("texts read with {names}", names=names)
    rows = {sha256: known_rows(session, sha256, reference, windows, cache)[:n] for sha256 in files}
    open_ = [sha256 for sha256, read in rows.items() if len(read) < n and not enough(read)]
    for begin in sorted({len(rows[sha256]) for sha256 in open_}):
        before = {sha256: rows[sha256] for sha256 in open_ if len(rows[sha256]) == begin}
        paths = [files[sha256] for sha256 in before]
        rows |= _read_on(
            session, paths, before, reference, windows, n, cache=cache, enough=enough, step=step
        )
    return rows


def _read_on(
    session: Session,
    paths: Sequence[Path],
    before: Mapping[str, list[Row]],
    reference: Model,
    windows: Sequence[Window],
    n: int,
    *,
    cache: Cache,
    enough: Callable[[Sequence[Row]], bool],
    step: str,
) -> dict[str, list[Row]]:
    """The rows `before` of the files at `paths`, equally many of each, and those of the next
    windows up to the first `n`. The ledger has what was read however this ends.
    """
    begin, rows = len(next(iter(before.values()))), dict(before)

    def all_enough(new: Sequence[Sequence[Row]]) -> bool:
        for sha256, more in zip(before, new, strict=True):
            rows[sha256] = [*before[sha256], *more]
        return all(map(enough, rows.values()))

    def progress(done: int, total: int) -> None:
        session.watch(step, begin + done, begin + total)

    progress(0, n - begin)  # the models are loaded before the first text is read
    try:
        session.lab.compare(
            reference.path,
            paths,
            [w.as_json() for w in windows[begin:n]],
            cache=cache,
            enough=all_enough,
            progress=progress,
        )
    finally:  # Ctrl-C, too
        for sha256, read in rows.items():
            inputs = _divergence_inputs(session, sha256, reference, windows, cache)
            session.ledger.remember("divergence", inputs, read)
    return rows


def known_rows(
    session: Session, sha256: str, reference: Model, windows: Sequence[Window], cache: Cache
) -> list[Row]:
    """The rows that the ledger has of the file with this hash: those of the first windows."""
    inputs = _divergence_inputs(session, sha256, reference, windows, cache)
    rows: list[Row] | None = session.ledger.recall("divergence", inputs)
    return rows or []


def _divergence_inputs(
    session: Session, sha256: str, reference: Model, windows: Sequence[Window], cache: Cache
) -> dict[str, object]:
    return {
        "candidate": sha256,
        "reference": session.ledger.model_sha256(reference),
        "windows": windows_digest(windows),
        "cache": list(cache),
        "engine": lab_build(),
        "version": TEST_VERSION,
    }


def noise_floor(session: Session, reference: Model, windows: Sequence[Window]) -> Figure:
    """Mean KLD of `reference` from itself, on the first FLOOR_WINDOWS windows.

    One of both runs reads the windows one by one instead of side by side. So this is the loss by
    rounding alone, for which no candidate is to blame.
    """
    some = windows[:FLOOR_WINDOWS]
    inputs = {
        "reference": session.ledger.model_sha256(reference),
        "windows": windows_digest(some),
        "engine": lab_build(),
    }

    def measured() -> dict[str, Any]:
        (rows,) = session.lab.compare(
            reference.path,
            [reference.path],
            [w.as_json() for w in some],
            alone=True,
            progress=partial(session.watch, say("texts read for the noise floor")),
        )
        return quality_of(rows, [w.domain for w in some]).kld_mean.as_json()

    return Figure.from_json(session.ledger.remembered("noise floor", inputs, measured))


def room_beside(session: Session, model: Model) -> int:
    """Bytes of memory for other models that are loaded at the same time as `model`."""
    return session.machine.memory.available_bytes // 2 - model.weights_bytes
