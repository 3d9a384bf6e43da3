"""`hakaru test`: what was lost and how fast it is here."""

import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import dataclass
from math import inf, sqrt
from pathlib import Path
from typing import Any, Protocol

from hakaru.cli import compare
from hakaru.cli.output import Watching, next_step, print_json, print_table, print_text
from hakaru.cli.settings import settings_for
from hakaru.cli.tasks import as_json as tasks_json
from hakaru.cli.tasks import print_tasks
from hakaru.cli.wording import CONTENDED, cells, contention, verdict_sentence
from hakaru.errors import Misuse
from hakaru.evaluation.speed import Point
from hakaru.evaluation.tasks import Graded, named_tasks
from hakaru.evaluation.texts import kind_of_text, named_prompts, named_texts
from hakaru.evaluation.tiers import Quality, Tier, tier_named
from hakaru.hardware.probe import probe_machine
from hakaru.language import say
from hakaru.memory.footprint import F16_CACHE
from hakaru.models.model import Model
from hakaru.models.sources.find import whole_model
from hakaru.pictures.report import Report, check_report, save_report, save_report_picture
from hakaru.pictures.save import format_of
from hakaru.quantization.source import source_kind
from hakaru.tuning.bench import Bench, Row, Tested
from hakaru.tuning.ledger import Ledger
from hakaru.tuning.trial import Trial
from hakaru.units import Figure, format_bytes, parse_seconds


class LiveView(Protocol):
    """A page that shows what is known so far."""

    @property
    def url(self) -> str: ...

    def show(self, rows: Sequence[Row], domains: Sequence[str]) -> None: ...

    def finish(self, sentences: Sequence[str]) -> None: ...


Live = Callable[[str, Tier], AbstractContextManager[LiveView]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What was measured of one model; None or empty where it was not asked for."""

    model: Model
    original: Model
    tier: Tier
    tested: Tested
    floor: Figure | None
    trial: Trial | None
    points: Sequence[Point]
    graded: Sequence[Graded]
    theirs: Sequence[Graded]


def run(
    *,
    models: tuple[str, ...],
    reference: str | None,
    texts: tuple[Path, ...],
    prompts: Path | None,
    budget: str | None,
    tasks: tuple[str, ...],
    language: str,
    quality: str,
    no_speed: bool,
    full_speed: bool,
    again: bool,
    report: Path | None,
    plot: Path | None,
    page: bool,
    live: Live | None,
    json: bool,
    **options: Any,
) -> int:
    """Measure a model file, or several side by side. Returns 1 if one alone fails the tier."""
    tier = tier_named(quality)
    if report:
        check_report(report)
    if plot:
        format_of(plot)
    if len(models) > 1:
        for option, given in (
            ("--report", report),
            ("--plot", plot),
            ("--page", page),
            ("--budget", budget),
            ("--full-speed", full_speed),
        ):
            if given:
                raise Misuse("{option} is of one model; name one.", option=option)
        several = [whole_model(model) for model in models]
        return compare.run(
            models=several, reference=whole_model(reference) if reference else None, own=named_texts(texts),
            prompts=named_prompts(prompts), tier=tier, tasks=tasks, language=language,
            settings=[settings_for(model, **options) for model in several], no_speed=no_speed, again=again, json=json,
        )  # fmt: skip
    candidate = whole_model(models[0])
    original = whole_model(reference) if reference else candidate
    settings = settings_for(candidate, **options)
    own, asked, items = named_texts(texts), named_prompts(prompts), named_tasks(tasks, language).items
    budget_s = parse_seconds(budget) if budget else inf
    with ExitStack() as stack:
        shown = stack.enter_context(live(_title(candidate, original), tier)) if page and live else None
        if shown:
            print(say("The interval closes at {url}", url=shown.url), file=sys.stderr, flush=True)
        watch = stack.enter_context(Watching(quiet=json))
        bench = Bench(machine=probe_machine(), ledger=Ledger(watch=watch), watch=watch, again=again)
        is_asked = reference or own or asked or settings.cache != F16_CACHE
        windows = bench.windows(original, own=own, prompts=asked, parts=("test",)) if is_asked else []
        tested = bench.tested(
            candidate, original, windows, tier, cache=settings.cache, budget_s=budget_s, name=candidate.type_name,
            seen=lambda rows: shown.show(rows, [w.domain for w in windows]) if shown else None,
        )  # fmt: skip
        if shown:
            shown.show(tested.rows, tested.domains)
            shown.finish([verdict_sentence(tested, tier), *_sentences(tested)])
        trial = None if no_speed else bench.trial(candidate, settings, name=candidate.type_name)
        found = Found(
            model=candidate, original=original, tier=tier, tested=tested, trial=trial,
            floor=bench.noise_floor(original, windows) if tested.quality.n_tokens else None,
            points=bench.loads(candidate, settings, trial.speed) if trial and full_speed else [],
            graded=bench.answers(candidate, items, settings, name=candidate.type_name) if items else [],
            theirs=bench.answers(original, items, settings, name=say("reference")) if items and reference else [],
        )  # fmt: skip
        watch.close()
        if report:
            save_report(_report(found), report)
        if plot:
            save_report_picture(_report(found), plot)
        if json:
            print_json(_as_json(found))
        else:
            _print(found)
            if shown:
                print(say("The page stays until Ctrl-C."), flush=True)
                with suppress(KeyboardInterrupt):
                    threading.Event().wait()
    return 1 if tested.judgement.verdict == "fail" else 0


def _title(candidate: Model, original: Model) -> str:
    return say("{model} against {reference}", model=candidate.path.name, reference=original.path.name)


def _report(found: Found) -> Report:
    return Report(
        title=_title(found.model, found.original),
        sentences=[verdict_sentence(found.tested, found.tier), *_sentences(found.tested), *_further(found)], head=_head(found.tier),
        table=_rows(found), quality=found.tested.quality, rows=found.tested.rows, tier=found.tier,
        speed=found.trial.speed if found.trial else None, points=found.points,
    )  # fmt: skip


def _as_json(found: Found) -> dict[str, Any]:
    lost, trial, memory = found.tested.quality, found.trial, dict[str, Any]()
    if trial:
        memory = trial.memory.parts() | {"total_bytes": trial.memory.total_bytes, "peak_rss_bytes": trial.peak_rss_bytes}
    return {
        "schema": "hakaru.measurement/1",
        "model": str(found.model.path),
        "reference": str(found.original.path),
        "reference_is_quantized": source_kind(found.original).kind == "quantized",
        "quality": lost.as_json(),
        "noise_floor": found.floor.as_json() if found.floor else None,
        "speed": trial.speed.as_json() | {"points": [point.as_json() for point in found.points]} if trial else None,
        "memory": memory,
        "tier": found.tier.name,
        "best_tier": found.tested.best_tier,
        "verdict": found.tested.judgement.verdict,
        "broken": found.tested.judgement.broken,
        "tokens_evaluated": lost.n_tokens,
        "windows_available": len(found.tested.domains),
        "tasks": tasks_json(found.graded, found.theirs) if found.graded else None,
    }


def _print(found: Found) -> None:
    if not found.tested.rows:
        print_text(say("No --reference was named: the model is compared with itself, and loses nothing by definition."))
    elif warning := source_kind(found.original).sentence():
        print_text(warning)
    print_table(_head(found.tier), _rows(found))
    for sentence in [*_sentences(found.tested), *_further(found)]:
        print_text(sentence)
    if trial := found.trial:
        print_text(say("Speed for a prompt of {n_prompt} tokens and an answer of {n_predict}, the median of {repeats} runs through the server.",
                  n_prompt=trial.speed.n_prompt, n_predict=trial.speed.n_predict, repeats=trial.speed.repeats))  # fmt: skip
        peak = format_bytes(trial.peak_rss_bytes) if trial.peak_rss_bytes else "?"
        print_text(say("Memory: {buffers} in the engine's buffers; its process peaked at {peak}.",
                  buffers=format_bytes(trial.memory.total_bytes), peak=peak))  # fmt: skip
    print_text(verdict_sentence(found.tested, found.tier))
    if found.graded:
        print_tasks(found.graded, found.theirs)
    next_step(f"hakaru serve {found.model.path}")


def _head(tier: Tier) -> list[str]:
    return [say("figure"), say("value"), say("95 % interval"), say("tier {tier}", tier=tier.name)]


def _rows(found: Found) -> list[list[str]]:
    """The table: figure, value, interval, bound."""
    lost, trial, tier = found.tested.quality, found.trial, found.tier
    rows = [
        [say("mean KLD"), *cells(lost.kld_mean, ".5f"), f"≤ {tier.kld_mean:g}"],
        [say("top-1 agreement"), *cells(lost.top1_agreement, ".2%"), f"≥ {tier.top1_agreement:.1%}"],
        [
            say("perplexity ratio"),
            *cells(lost.perplexity_ratio, ".4f"),
            f"≤ {tier.perplexity_ratio:g}" if tier.perplexity_ratio else "-",
        ],
    ]
    if lost.kld_p99:
        rows.insert(1, [say("KLD of the worst token in 100"), *cells(lost.kld_p99, ".4f"), ""])
    rows += [
        ["  " + say("{figure}, {kind}", figure="KLD", kind=kind_of_text(name)), *cells(figure, ".5f"), ""]
        for name, figure in lost.domains.items()
    ]
    if trial:
        mark = CONTENDED if trial.speed.is_contended else ""
        rows += [
            [say("decode, tokens/s"), *cells(trial.speed.decode_tokens_per_s, ".1f"), mark],
            [say("prefill, tokens/s"), *cells(trial.speed.prefill_tokens_per_s, ".1f"), mark],
            [say("first token, ms"), *cells(trial.speed.first_token_ms, ".0f"), mark],
        ]
        if trial.speed.energy_j:
            rows.append([say("energy for one answer, J"), *cells(trial.speed.energy_j, ".1f"), mark])
    for point in found.points:
        what = (
            say("  decode behind {n:,} tokens", n=point.depth)
            if point.depth
            else say("  decode, users together: {n}", n=point.users)
        )
        rows.append([what, *cells(point.decode_tokens_per_s, ".1f"), CONTENDED if point.is_contended else ""])
    return rows


def _sentences(tested: Tested) -> list[str]:
    """How much was read, and what the figures mean."""
    lost = tested.quality
    if not lost.n_tokens:
        return []
    read = say("{tokens} tokens in {windows} of {available} windows.", tokens=f"{lost.n_tokens:,}", windows=lost.n_windows,
               available=len(tested.domains))  # fmt: skip
    return [read, _in_plain_words(lost)]


def _further(found: Found) -> list[str]:
    """The noise floor, and what was timed beside other work."""
    told = []
    if found.floor:
        told.append(say("Noise floor: the reference differs from itself by {kld} when its batches are split differently.",
                        kld=f"{found.floor.value:.2g}"))  # fmt: skip
    return told + contention([found.trial.speed, *found.points] if found.trial else [])


def _in_plain_words(lost: Quality) -> str:
    """Two theorems about the mean KLD: Pinsker's inequality, and that divergences of successive tokens add up."""
    kld = max(lost.kld_mean.highest, 1e-12)
    return say("In plain words: at most {percent:.1%} of the next tokens would be drawn differently, and it takes at least {n:,} tokens until "
               "the two texts are one nat apart.", percent=min(1.0, sqrt(kld / 2)), n=round(1 / kld))  # fmt: skip
