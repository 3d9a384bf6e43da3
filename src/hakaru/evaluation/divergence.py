"""Measures what a model lost: windows are cut from the texts, the engine sums over every window,
and the sums become figures with intervals.
"""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np

from hakaru.engine.call import Progress, no_progress
from hakaru.errors import Misuse
from hakaru.evaluation.statistics import Sums, quantile_of, ratio_of_sums
from hakaru.evaluation.texts import PROMPT_SEED, Document, Part, prompts_at_hand, texts_at_hand
from hakaru.evaluation.tiers import Quality
from hakaru.evaluation.windows import Window, window_of_answer, windows_of_documents
from hakaru.models.model import Model
from hakaru.units import Figure

N_ANSWER: Final = 80
"""Tokens of the reference's answer to a prompt, at most."""
PER_OWN_DOCUMENT: Final = 40
"""Windows that are cut from one text of the person, at most."""


class Comparer(Protocol):
    """What the test of quality needs of the engine."""

    def tokenize(self, path: Path, texts: Sequence[str]) -> tuple[list[list[int]], list[int]]: ...

    def answer(
        self, path: Path, prompts: Sequence[str], *, n_predict: int, seed: int, progress: Progress
    ) -> list[dict[str, Any]]: ...

    def compare(
        self,
        reference: Path,
        candidates: Sequence[Path],
        windows: Sequence[dict[str, Any]],
        *,
        progress: Progress,
    ) -> list[list[dict[str, float]]]: ...


def gather_windows(
    engine: Comparer,
    reference: Model,
    *,
    parts: Collection[Part],
    own: Sequence[Document] = (),
    prompts: Sequence[str] = (),
    n_documents: int | None = None,
    n_prompts: int | None = None,
    progress: Progress = no_progress,
) -> list[Window]:
    """The windows on which a candidate of `reference` is measured.

    One window comes from each document at hand, and one from the answer of `reference` (sampled at
    temperature 1 with a fixed seed) to each of our prompts: of these `parts`, and at most
    `n_documents` and `n_prompts` of each domain. The person's texts (`own`) and prompts (`prompts`)
    are used whole. The windows are mixed evenly: however many are read from the first on, every
    domain has the share among them that it has of all. Raises Misuse if an own text is shorter than
    a window.
    """
    at_hand = texts_at_hand(parts)
    chosen = [
        d
        for domain in ("prose-en", "code")
        for d in _spread([d for d in at_hand if d.domain == domain], n_documents)
    ]
    documents = [*chosen, *own]
    tokens, opening = engine.tokenize(reference.path, [d.text for d in documents])
    groups = [windows_of_documents(chosen, tokens[: len(chosen)], opening)]
    for document, ids in zip(own, tokens[len(chosen) :], strict=True):
        windows = windows_of_documents([document], [ids], opening, per_document=PER_OWN_DOCUMENT)
        if not windows:
            raise Misuse(
                "{name}: the text has {found} tokens, expected at least one window of 128; name "
                "a longer text.",
                name=document.name.removeprefix("file/"),
                found=len(ids),
            )
        groups.append(windows)
    by_domain = {d: ours[:n_prompts] for d, ours in prompts_at_hand(parts).items()}
    by_domain["answers-own"] = list(prompts)
    groups.append(_answers(engine, reference, by_domain, progress))
    return evenly_mixed([w for group in groups for w in group])


def measure_quality(
    engine: Comparer,
    reference: Path,
    candidates: Sequence[Path],
    windows: Sequence[Window],
    *,
    progress: Progress = no_progress,
) -> list[Quality]:
    """What each candidate lost against `reference`, all on the same windows."""
    results = engine.compare(
        reference, candidates, [w.as_json() for w in windows], progress=progress
    )
    return [quality_of(sums, [w.domain for w in windows]) for sums in results]


def quality_of(sums: Sequence[Mapping[str, Any]], domains: Sequence[str]) -> Quality:
    """Figures from the sums per window (see `Lab.compare`). `domains` are those of the same
    windows; more are ignored.
    """
    domains = domains[: len(sums)]

    def mean(key: str, rows: Sequence[Mapping[str, Any]], unit: str) -> Figure:
        return ratio_of_sums([r[key] for r in rows], [r["n"] for r in rows], unit=unit)

    excess = [r["nll_candidate"] - r["nll_reference"] for r in sums]
    return Quality(
        kld_mean=mean("kld", sums, "nats/token"),
        kld_p99=quantile_of([r["klds"] for r in sums], 0.99, unit="nats/token")
        if all("klds" in r for r in sums)
        else None,
        top1_agreement=ratio_of_sums(
            [r["n"] - r["agreed"] for r in sums],
            [r["n"] for r in sums],
            unit="fraction",
            transform=lambda share: 1 - np.minimum(share, 1),
        ),
        perplexity_ratio=ratio_of_sums(
            excess, [r["n"] for r in sums], unit="ratio", transform=_exponential, is_signed=True
        ),
        domains={
            domain: mean(
                "kld", [r for r, d in zip(sums, domains, strict=True) if d == domain], "nats/token"
            )
            for domain in dict.fromkeys(domains)
        },
        n_windows=len(sums),
        n_tokens=int(sum(r["n"] for r in sums)),
    )


def _exponential(excess: Sums) -> Sums:
    return np.asarray(np.exp(np.clip(excess, -50, 50)))


def identical() -> Quality:
    """The quality of the reference itself: nothing is lost, by definition."""

    def exact(value: float, unit: str) -> Figure:
        return Figure(value=value, unit=unit, source="computed", low=value, high=value)

    return Quality(
        kld_mean=exact(0.0, "nats/token"),
        top1_agreement=exact(1.0, "fraction"),
        perplexity_ratio=exact(1.0, "ratio"),
        domains={},
        n_windows=0,
        n_tokens=0,
    )


def check_same_tokenizer(reference: Model, candidate: Model) -> None:
    """Raises Misuse where the two models do not share their vocabulary: then KLD has no meaning."""
    if (
        reference.tokenizer_digest != candidate.tokenizer_digest
        or reference.shape.n_vocab != candidate.shape.n_vocab
    ):
        raise Misuse(
            "{candidate}: has another vocabulary ({found} tokens) than the reference {reference} "
            "({expected} tokens), so that KLD is not defined; name a reference of the same model.",
            candidate=candidate.path,
            found=candidate.shape.n_vocab,
            reference=reference.path,
            expected=reference.shape.n_vocab,
        )


def _answers(
    engine: Comparer, reference: Model, prompts: Mapping[str, Sequence[str]], progress: Progress
) -> list[Window]:
    """Windows of the reference's answers to these prompts, which stand by domain."""
    domains = [domain for domain, some in prompts.items() for _ in some]
    if not domains:
        return []
    progress(0, len(domains))  # the model is loaded before it answers
    answers = engine.answer(
        reference.path,
        [prompt for some in prompts.values() for prompt in some],
        n_predict=N_ANSWER,
        seed=PROMPT_SEED,
        progress=progress,
    )
    windows = (window_of_answer(d, answer) for d, answer in zip(domains, answers, strict=True))
    return [window for window in windows if window]


def _spread(documents: Sequence[Document], n: int | None) -> list[Document]:
    """`n` documents at even distances. None: all of them, in the order of their names' hashes."""
    if n is None:
        return sorted(documents, key=lambda d: hashlib.sha256(d.name.encode()).digest())
    step = max(1.0, len(documents) / n) if n else 1.0
    return [documents[int(i * step)] for i in range(min(n, len(documents)))]


def evenly_mixed(windows: Sequence[Window]) -> list[Window]:
    """The windows of each domain in their order, at even distances over the whole."""
    queues: dict[str, list[Window]] = {}
    for window in windows:
        queues.setdefault(window.domain, []).append(window)
    placed = [
        ((i + 0.5) / len(queue), window)
        for queue in queues.values()
        for i, window in enumerate(queue)
    ]
    return [window for _, window in sorted(placed, key=lambda place: place[0])]
