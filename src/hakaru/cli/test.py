"""`hakaru test`: what was lost and how fast it is here."""

import sys
import threading
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager, ExitStack, suppress
from math import inf
from pathlib import Path
from typing import Any, Final, Protocol

from hakaru.cli import compare
from hakaru.cli.found import Found, loss_sentences, report_of, tell, tell_json, title
from hakaru.cli.loading import fit_before_load, mode_for, needs_text
from hakaru.cli.output import Watching
from hakaru.cli.settings import settings_for
from hakaru.cli.wording import verdict_sentence
from hakaru.engine.mode import Mode
from hakaru.errors import Misuse
from hakaru.evaluation.divergence import check_same_tokenizer
from hakaru.evaluation.speed import depths_left_out
from hakaru.evaluation.tasks import named_tasks
from hakaru.evaluation.texts import named_prompts, named_texts
from hakaru.evaluation.tiers import Tier, tier_named
from hakaru.hardware.probe import probe_machine
from hakaru.language import say
from hakaru.memory.settings import F16_CACHE
from hakaru.models.model import Model
from hakaru.models.sources.find import whole_model
from hakaru.pictures.page_file import check_report
from hakaru.pictures.report import nothing_to_draw, save_report, save_report_picture
from hakaru.pictures.save import check_picture
from hakaru.serving.deployment import beside_servers
from hakaru.session import Session
from hakaru.tuning.bench import Bench, Row
from hakaru.units import parse_seconds

OF_ONE: Final = ("--report", "--plot", "--page", "--budget", "--full-speed")
OF_LOSS: Final = ("--text", "--prompts", "--quality", "--budget", "--page")
"""Options that say how the loss is measured or judged."""


class LiveView(Protocol):
    """A page that shows what is known so far."""

    @property
    def url(self) -> str: ...

    def show(self, rows: Sequence[Row], domains: Sequence[str]) -> None: ...

    def finish(self, sentences: Sequence[str]) -> None: ...


Live = Callable[[str, Tier], AbstractContextManager[LiveView]]


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
    chat_template: str | None,
    given: Collection[str] = (),
    **options: Any,
) -> int:
    """Measure a model file, or several side by side. Returns 1 if one alone fails the tier. `given` are the options that the person wrote."""
    tier = tier_named(quality)
    if len(models) > 1:
        for option in OF_ONE:
            if option in given:
                raise Misuse("{option} is of one model; name one.", option=option)
        if reference is None:
            _refuse_loss(given)
        several = [whole_model(model) for model in models]
        against = whole_model(reference) if reference else None
        for model in [*several, *([against] if against else [])]:
            needs_text(model, "test", tasks=bool(tasks), chat_template=chat_template)
        wanted = [settings_for(model, **options) for model in several]
        if not no_speed or tasks:
            verdicts = [fit_before_load(model, settings).verdict for model, settings in zip(several, wanted, strict=True)]
            if "does_not_fit" in verdicts:
                return 3
        return compare.run(
            models=several, reference=against, own=named_texts(texts),
            prompts=named_prompts(prompts), tier=tier, tasks=tasks, language=language,
            settings=wanted, no_speed=no_speed, again=again, json=json,
            mode=mode_for(several[0], chat_template) if chat_template else Mode(),
        )  # fmt: skip
    if report:
        check_report(report)
    if plot:
        check_picture(plot)
    candidate = whole_model(models[0])
    settings = settings_for(candidate, **options)
    needs_text(candidate, "test", tasks=bool(tasks), chat_template=chat_template)
    is_compared = reference is not None or settings.cache != F16_CACHE
    if not is_compared:
        _refuse_loss(given)
    if (not no_speed or tasks) and fit_before_load(candidate, settings).verdict == "does_not_fit":
        return 3
    mode = mode_for(candidate, chat_template) if chat_template else Mode()
    original = whole_model(reference) if reference else candidate
    needs_text(original, "test", tasks=bool(tasks), chat_template=chat_template)
    own, asked, items = named_texts(texts), named_prompts(prompts), named_tasks(tasks, language).items
    budget_s = parse_seconds(budget) if budget else inf
    with ExitStack() as stack:
        watch = stack.enter_context(Watching(quiet=json))
        machine = beside_servers(probe_machine(), (*candidate.parts, *original.parts))
        bench = Bench(Session.here(machine=machine, watch=watch), again=again)
        bench.mode = mode
        is_read = is_compared and (settings.cache != F16_CACHE or not _same_file(bench, candidate, original))
        if plot and not is_read and (no_speed or not full_speed):
            raise nothing_to_draw(plot)
        check_same_tokenizer(original, candidate)
        shown = stack.enter_context(live(title(candidate, original), tier)) if page and live else None
        if shown:
            print(say("The interval closes at {url}", url=shown.url), file=sys.stderr, flush=True)
        windows = bench.windows(original, own=own, prompts=asked, parts=("test",)) if is_read else []
        tested = bench.tested(
            candidate, original, windows, tier, cache=settings.cache, budget_s=budget_s, name=candidate.type_name,
            seen=lambda rows: shown.show(rows, [w.domain for w in windows]) if shown else None,
        ) if is_compared else None  # fmt: skip
        if shown and tested:
            shown.show(tested.rows, tested.domains)
            shown.finish([verdict_sentence(tested, tier), *loss_sentences(tested)])
        trial = None if no_speed else bench.trial(candidate, settings, name=candidate.type_name)
        points = bench.loads(candidate, settings, trial.speed) if trial and full_speed else []
        found = Found(
            model=candidate, settings=settings, original=original if is_compared else None, tier=tier, tested=tested, trial=trial,
            floor=bench.noise_floor(original, windows) if tested and tested.quality.n_tokens else None,
            points=points, left_out=depths_left_out(points, n_ctx=settings.n_ctx // settings.n_parallel) if points else [],
            graded=bench.answers(candidate, items, settings, name=candidate.type_name) if items else [],
            theirs=bench.answers(original, items, settings.with_cache(F16_CACHE), name=say("reference")) if items and is_compared else [],
            chat_template=mode.template.name if mode.template else None,
        )  # fmt: skip
        watch.close()
        if report:
            save_report(report_of(found), report)
        if plot:
            save_report_picture(report_of(found), plot)
        if json:
            tell_json(found)
        else:
            tell(found)
            if shown:
                print(say("The page stays until Ctrl-C."), flush=True)
                with suppress(KeyboardInterrupt):
                    threading.Event().wait()
    return 1 if tested and tested.judgement.verdict == "fail" else 0


def _same_file(bench: Bench, model: Model, other: Model) -> bool:
    return bench.ledger.model_sha256(model) == bench.ledger.model_sha256(other)


def _refuse_loss(given: Collection[str]) -> None:
    """Raises Misuse for an option that asks for a loss where there is nothing to compare with."""
    for option in OF_LOSS:
        if option in given:
            raise Misuse("{option} is about what is lost against a reference, and none was named: there is nothing to judge; name it with "
                         "--reference, or leave {option} out.", option=option)  # fmt: skip
