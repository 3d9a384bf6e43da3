"""The bench: check, build and measure model files, remembering everything in the ledger.

The services behind `hakaru test`, and the hands of the loop behind `hakaru up`. Each asks the
ledger first; its key holds the file hashes, the engine's build, the settings and the texts, so that
nothing is measured twice and nothing stale is used.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

from hakaru import __version__
from hakaru.engine.lab import lab_build
from hakaru.engine.mode import Mode
from hakaru.engine.server import EngineServer, server_build
from hakaru.evaluation.answers import Answer, answer_items
from hakaru.evaluation.divergence import check_same_tokenizer, gather_windows, identical, quality_of
from hakaru.evaluation.judgement import Judgement, best_tier, judge
from hakaru.evaluation.memory_groups import in_groups
from hakaru.evaluation.pace import Pace, bytes_read
from hakaru.evaluation.served import served
from hakaru.evaluation.speed import (
    DEPTHS,
    REPEATS,
    USERS,
    Point,
    Speed,
    measure_depths,
    measure_speed,
    measure_users,
)
from hakaru.evaluation.tasks import Graded, Item, grade
from hakaru.evaluation.texts import (
    PARTS,
    PROMPT_SEED,
    Document,
    Part,
    prompts_at_hand,
    texts_at_hand,
    texts_digest,
)
from hakaru.evaluation.tiers import TIERS, Quality, Tier
from hakaru.evaluation.trial import Trial
from hakaru.evaluation.windows import Window, least_to_read, windows_digest
from hakaru.language import say
from hakaru.memory.settings import F16_CACHE, Cache, ContextSettings
from hakaru.models.model import Model
from hakaru.planning.dry_run import Check, check_memory, remember_load
from hakaru.session import Session
from hakaru.units import Figure

Row = Mapping[str, Any]
LEAST_FOR_INTERVALS: Final = 30
"""Windows that a bootstrap wants before its intervals are believed."""
FLOOR_WINDOWS: Final = 12
LEAST_PER_USER: Final = 256
"""Tokens of context that each of many users has at least."""
TEST_VERSION: Final = 6
"""Raise it when the windows, the scoring or the speed test change: results of another version are
not reused.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tested:
    """The result of reading windows against a tier. Reading stopped when the verdict was certain,
    or at the last window.
    """

    quality: Quality
    judgement: Judgement  # what the windows that were read prove of the tier
    domains: Sequence[str]  # the kind of text of every window, also of the unread ones
    rows: Sequence[Row] = ()  # the sums of every window that was read

    @property
    def best_tier(self) -> str | None:
        """The strictest tier that is known to hold, or None."""
        return best_tier(self.rows, self.domains) if self.rows else next(iter(TIERS))


class Bench:
    """One session at work. With `again` speeds are measured anew, once each; what does not change
    is recalled.
    """

    mode = Mode()  # how the servers that answer tasks are run

    def __init__(self, session: Session, *, again: bool = False) -> None:
        self.machine, self.ledger, self.lab, self.watch = (
            session.machine,
            session.ledger,
            session.lab,
            session.watch,
        )
        self.server = partial(
            served, machine=session.machine, ledger=session.ledger, engine=session.lab
        )
        self._timed_now: set[tuple[str, Cache]] | None = set() if again else None

    def check(self, model: Model, settings: ContextSettings) -> Check:
        """Compute and dry-run the memory of `model`. Raises EngineRefused if llama.cpp does not
        know the model.
        """
        return check_memory(
            model, settings, machine=self.machine, ledger=self.ledger, engine=self.lab
        )

    def windows(
        self,
        reference: Model,
        *,
        parts: Sequence[Part],
        own: Sequence[Document] = (),
        prompts: Sequence[str] = (),
        n_documents: int | None = None,
        n_prompts: int | None = None,
        ask: bool = True,
    ) -> list[Window]:
        """Windows of `reference` as `gather_windows` chooses them, answers included; its answers
        are asked for once. Without `ask` there are none before that.
        """
        inputs = {
            "reference": self.ledger.model_sha256(reference),
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
                self.lab,
                reference,
                parts=parts,
                own=own,
                prompts=prompts,
                n_documents=n_documents,
                n_prompts=n_prompts,
                progress=partial(self.watch, say("reference answers")),
            )
            return [{"domain": w.domain, **w.as_json()} for w in windows]

        rows = (
            self.ledger.remembered("windows", inputs, gathered)
            if ask
            else self.ledger.recall("windows", inputs)
        )
        return [
            Window(domain=w["domain"], tokens=tuple(w["tokens"]), first=w["first"])
            for w in rows or []
        ]

    def tested(
        self,
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
        """What `candidate` with this KV cache lost against `reference` with F16's: window after
        window, until it is known whether the tier holds, all are read, or the time is spent; `seen`
        is told what was read. Raises Misuse for another vocabulary.
        """
        until = time.monotonic() + budget_s
        check_same_tokenizer(reference, candidate)
        sha256, domains = self.ledger.model_sha256(candidate), [w.domain for w in windows]
        if (sha256 == self.ledger.model_sha256(reference) and cache == F16_CACHE) or not windows:
            return Tested(quality=identical(), judgement=Judgement("pass"), domains=domains)

        least = max(LEAST_FOR_INTERVALS, least_to_read(domains))

        def enough(rows: Sequence[Row]) -> bool:
            seen(rows)
            known = len(rows) >= least and judge(rows, domains, tier).verdict != "inconclusive"
            return known or (len(rows) > 0 and time.monotonic() > until)

        files, n = {sha256: candidate.path}, len(windows)
        rows = self.divergences(
            files, reference, windows, n=n, cache=cache, enough=enough, name=name
        )[sha256]
        return Tested(
            quality=quality_of(rows, domains),
            judgement=judge(rows, domains, tier),
            domains=domains,
            rows=rows,
        )

    def side_by_side(self, models: Sequence[Model], reference: Model) -> list[list[Model]]:
        """The models in groups that go into half of the free memory beside their reference."""
        return in_groups(models, self.room_beside(reference))

    def room_beside(self, model: Model) -> int:
        """The bytes of memory in which other models may be loaded at the same time as `model`."""
        return self.machine.memory.available_bytes // 2 - model.weights_bytes

    def divergences(
        self,
        files: Mapping[str, Path],
        reference: Model,
        windows: Sequence[Window],
        *,
        n: int,
        cache: Cache = F16_CACHE,
        enough: Callable[[Sequence[Row]], bool] = lambda rows: False,
        name: str = "",
    ) -> dict[str, list[Row]]:
        """Sums per window by SHA-256, on the first `n` windows or until `enough` says so. What is
        known is recalled; the rest is read together, so that the reference runs once, from where
        each one stands.
        """
        rows = {sha256: self.known_rows(sha256, reference, windows, cache)[:n] for sha256 in files}
        open_ = [sha256 for sha256, known in rows.items() if len(known) < n and not enough(known)]
        for begin in sorted({len(rows[sha256]) for sha256 in open_}):
            group = [sha256 for sha256 in open_ if len(rows[sha256]) == begin]
            before = [rows[sha256] for sha256 in group]

            def all_enough(
                new: Sequence[Sequence[Row]], before: Sequence[list[Row]] = before
            ) -> bool:
                return all(enough([*old, *more]) for old, more in zip(before, new, strict=True))

            def progress(done: int, total: int, begin: int = begin) -> None:
                self.watch(say("test {name}", name=name).strip(), begin + done, begin + total)

            found = self.lab.compare(
                reference.path,
                [files[sha256] for sha256 in group],
                [w.as_json() for w in windows[begin:n]],
                cache=cache,
                enough=all_enough,
                progress=progress,
            )
            for sha256, new in zip(group, found, strict=True):
                rows[sha256] = [*rows[sha256], *new]
                self.ledger.remember(
                    "divergence",
                    self._divergence_inputs(sha256, reference, windows, cache),
                    rows[sha256],
                )
        return rows

    def noise_floor(self, reference: Model, windows: Sequence[Window]) -> Figure:
        """Mean KLD of `reference` from itself, the windows read one by one instead of side by side:
        what no candidate can be blamed for. On the first FLOOR_WINDOWS windows.
        """
        some = windows[:FLOOR_WINDOWS]
        inputs = {
            "reference": self.ledger.model_sha256(reference),
            "windows": windows_digest(some),
            "engine": lab_build(),
        }

        def measured() -> dict[str, Any]:
            (rows,) = self.lab.compare(
                reference.path, [reference.path], [w.as_json() for w in some], alone=True
            )
            return quality_of(rows, [w.domain for w in some]).kld_mean.as_json()

        return Figure.from_json(self.ledger.remembered("noise floor", inputs, measured))

    def trial(
        self, model: Model, settings: ContextSettings, *, name: str = "", repeats: int = REPEATS
    ) -> Trial:
        """How fast `model` is here and what it really takes, through the server."""
        sha256 = self.ledger.model_sha256(model)
        if known := self.known_trial(sha256, settings, repeats=repeats):
            return known
        progress = partial(self.watch, say("speed {name}", name=name).strip())
        with self.server(model, settings) as server:
            speed = measure_speed(
                server, n_vocab=model.shape.n_vocab, repeats=repeats, progress=progress
            )
            trial = Trial(
                speed=speed, memory=server.footprint(), peak_rss_bytes=server.peak_rss_bytes()
            )
            remember_load(
                server,
                model,
                machine=self.machine,
                ledger=self.ledger,
                peak_rss_bytes=trial.peak_rss_bytes,
            )
        if speed.is_contended:
            return trial
        self.ledger.remember(
            "trial", self._trial_inputs(sha256, settings, repeats), trial.as_json()
        )
        pace = Pace(
            read=bytes_read(model.tensors, model.shape), seconds=1 / speed.decode_tokens_per_s.value
        )
        self.ledger.remember("pace", {**self._here(), "model": sha256}, pace.as_json())
        if self._timed_now is not None:
            self._timed_now.add((sha256, settings.cache))
        return trial

    def deep(
        self, model: Model, settings: ContextSettings, speed: Speed, depth: int
    ) -> Point | None:
        """How fast `model` decodes behind `depth` tokens; None where they take too long to read."""

        def measured() -> list[Point]:
            with self.server(model, settings) as server:
                return self._depths(server, model, speed, [depth])

        return next(iter(self._points("deep", model, settings, depth, measured)), None)

    def loads(self, model: Model, settings: ContextSettings, speed: Speed) -> list[Point]:
        """How fast `model` decodes behind long contexts, and for several users at the same time,
        each with an eighth of the context.
        """
        many = max(USERS)
        n_ctx = max(settings.n_ctx, many * LEAST_PER_USER)

        def measured() -> list[Point]:
            with self.server(model, settings) as server:
                points = self._depths(server, model, speed, DEPTHS)
            with self.server(model, replace(settings, n_parallel=many, n_ctx=n_ctx)) as server:
                return points + measure_users(
                    server, n_vocab=model.shape.n_vocab, progress=partial(self.watch, say("users"))
                )

        return self._points("loads", model, settings, 0, measured)

    def _depths(
        self, server: EngineServer, model: Model, speed: Speed, depths: Sequence[int]
    ) -> list[Point]:
        def progress(done: int, total: int) -> None:
            self.watch(say("depths"), done, total)

        return measure_depths(
            server, speed, n_vocab=model.shape.n_vocab, depths=depths, progress=progress
        )

    def _points(
        self,
        kind: str,
        model: Model,
        settings: ContextSettings,
        depth: int,
        measured: Callable[[], list[Point]],
    ) -> list[Point]:
        """What is remembered of these points, or else what `measured` finds, which is remembered if
        nobody else computed.
        """
        inputs = {
            **self._trial_inputs(self.ledger.model_sha256(model), settings, REPEATS),
            "depth": depth,
        }
        known = None if self._timed_now is not None else self.ledger.recall(kind, inputs)
        if known is not None:
            return [Point.from_json(point) for point in known]
        points = measured()
        if not any(point.is_contended for point in points):
            self.ledger.remember(kind, inputs, [point.as_json() for point in points])
        return points

    def answers(
        self, model: Model, items: Sequence[Item], settings: ContextSettings, *, name: str = ""
    ) -> list[Graded]:
        """The greedy answers of `model` to the items, through the server, graded; asked for
        once.
        """
        inputs = {
            "model": self.ledger.model_sha256(model),
            "engine": server_build(),
            "settings": settings.as_json(),
            "items": [[i.prompt, i.max_tokens, i.check.letters] for i in items],
        } | self.mode.as_key()

        def asked() -> list[Answer]:
            with self.server(model, settings, self.mode) as server:
                return answer_items(
                    server,
                    items,
                    progress=partial(self.watch, say("tasks {name}", name=name).strip()),
                )

        answers = self.ledger.remembered("answers with their ends", inputs, asked)
        return grade(items, [text for text, _ in answers], cut=[is_cut for _, is_cut in answers])

    def known_trial(
        self, sha256: str, settings: ContextSettings, *, repeats: int = REPEATS
    ) -> Trial | None:
        """The trial of the file with this hash, if it was measured on this kind of machine."""
        inputs = self._trial_inputs(sha256, settings, repeats)
        if self._timed_now is not None and (sha256, settings.cache) not in self._timed_now:
            return None
        known = self.ledger.recall("trial", inputs)
        return Trial.from_json(known) if known else None

    def paces(self) -> list[Pace]:
        """The files that were timed on this kind of machine with this build, whatever their
        settings.
        """
        here = self._here().items()
        return [
            Pace(**result)
            for inputs, result in self.ledger.recall_all("pace")
            if here <= inputs.items()
        ]

    def _here(self) -> dict[str, Any]:
        return {"machine": self.machine.fingerprint, "engine": server_build()}

    def conditions(self) -> dict[str, object]:
        """What a figure depends on besides model and settings, for evidence."""
        texts = {part: texts_at_hand((part,)) for part in PARTS}
        return {
            "hakaru": __version__, "lab": lab_build(), "server": server_build(),
            "test_version": TEST_VERSION,
            "seeds": {"answers": PROMPT_SEED, "intervals": 0, "speed": 0},
            "texts": {part: {"n": len(documents), "digest": texts_digest(documents)} for part,
                documents in texts.items()},
        } | self.mode.as_evidence()  # fmt: skip

    def known_rows(
        self, sha256: str, reference: Model, windows: Sequence[Window], cache: Cache
    ) -> list[Row]:
        known: list[Row] | None = self.ledger.recall(
            "divergence", self._divergence_inputs(sha256, reference, windows, cache)
        )
        return known or []

    def _divergence_inputs(
        self, sha256: str, reference: Model, windows: Sequence[Window], cache: Cache
    ) -> dict[str, object]:
        return {
            "candidate": sha256,
            "reference": self.ledger.model_sha256(reference),
            "windows": windows_digest(windows),
            "cache": list(cache),
            "engine": lab_build(),
            "version": TEST_VERSION,
        }

    def _trial_inputs(
        self, sha256: str, settings: ContextSettings, repeats: int
    ) -> dict[str, object]:
        return {
            "model": sha256,
            "machine": self.machine.fingerprint,
            "engine": server_build(),
            "settings": settings.as_json(),
            "version": TEST_VERSION,
            "repeats": repeats,
        }
