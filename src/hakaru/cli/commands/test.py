"""`hakaru test`: what was lost and how fast it is here, of one model or of several side by side."""

import sys
import threading
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager, ExitStack, suppress
from math import inf
from typing import Final, Protocol

from hakaru.cli.options import TestOptions
from hakaru.cli.output import Watching, print_json, warn
from hakaru.cli.tell.comparison import comparison_json, print_comparison
from hakaru.cli.tell.test import Findings, loss_sentences, report_of, tell, tell_json, title
from hakaru.cli.terminal import terminal_session
from hakaru.cli.words import verdict_sentence
from hakaru.engine.mode import Mode
from hakaru.engine.mode_of import mode_for, needs_text
from hakaru.errors import Misuse
from hakaru.evaluation.answers import graded_answers
from hakaru.evaluation.comparison import measured_side_by_side
from hakaru.evaluation.divergence import check_same_tokenizer
from hakaru.evaluation.losses import Row, noise_floor, tested, windows_of
from hakaru.evaluation.speed import depths_left_out
from hakaru.evaluation.tasks import named_tasks
from hakaru.evaluation.texts import named_prompts, named_texts
from hakaru.evaluation.tiers import Tier, tier_named
from hakaru.evaluation.timing import Timing
from hakaru.hardware.probe import probe_machine
from hakaru.language import say
from hakaru.memory.context import settings_for
from hakaru.memory.settings import F16_CACHE, ContextSettings
from hakaru.models.model import Model
from hakaru.models.sources.find import whole_model
from hakaru.pictures.page_file import check_report
from hakaru.pictures.report import nothing_to_draw, save_report, save_report_picture
from hakaru.pictures.save import check_picture
from hakaru.planning.to_load import fit_to_load
from hakaru.servers import beside_servers
from hakaru.session import Session
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


def run(options: TestOptions, given: Collection[str] = (), *, live: Live | None = None) -> int:
    """Measure a model file, or several side by side. Returns 1 if one alone fails the tier, and 3
    if one does not fit.

    `given` are the options that the person wrote.
    """
    tier = tier_named(options.quality)
    return (
        _several(options, given, tier)
        if len(options.models) > 1
        else _one(options, given, tier, live)
    )


def _several(options: TestOptions, given: Collection[str], tier: Tier) -> int:
    """Measure the models and compare each two. Raises Misuse where nothing can be compared, or for
    another vocabulary.
    """
    for option in OF_ONE:
        if option in given:
            raise Misuse("{option} is of one model; name one.", option=option)
    if options.reference is None:
        _refuse_loss(given)
    models = [whole_model(model) for model in options.models]
    reference = whole_model(options.reference) if options.reference else None
    for model in [*models, *([reference] if reference else [])]:
        _check_text(model, options)
    settings = [settings_for(model, **options.as_context()) for model in models]
    _refuse_unfit(models, settings, options)
    own, prompts = named_texts(options.texts), named_prompts(options.prompts)
    items = named_tasks(options.tasks, options.language).items
    if reference is None and not items and options.no_speed:
        raise Misuse(
            "several models are compared with a --reference of the same vocabulary, on --tasks, "
            "or by their speed; name one of the first "
            "two, or leave --no-speed out."
        )
    for model in models if reference else ():
        check_same_tokenizer(reference or model, model)
    mode = _mode(models[0], options)
    with Watching(quiet=options.json) as watch:
        session = _session(models, watch, quiet=options.json)
        windows = (
            windows_of(session, reference, parts=("test",), own=own, prompts=prompts)
            if reference
            else []
        )
        measured = measured_side_by_side(
            Timing(session=session, again=options.again),
            models,
            reference,
            windows,
            items,
            settings,
            tier,
            mode=mode,
            no_speed=options.no_speed,
        )
    if options.json:
        template = {"chat_template": mode.template.name if mode.template else None}
        print_json(comparison_json(measured, reference, tier) | template)
    else:
        print_comparison(measured, tier)
    return 0


def _one(options: TestOptions, given: Collection[str], tier: Tier, live: Live | None) -> int:
    """Measure one model. Returns 1 if it fails the tier, and 3 if it does not fit."""
    if options.report:
        check_report(options.report)
    if options.plot:
        check_picture(options.plot)
    candidate = whole_model(options.models[0])
    settings = settings_for(candidate, **options.as_context())
    _check_text(candidate, options)
    is_compared = options.reference is not None or settings.cache != F16_CACHE
    if not is_compared:
        _refuse_loss(given)
    _refuse_unfit([candidate], [settings], options)
    mode = _mode(candidate, options)
    original = whole_model(options.reference) if options.reference else candidate
    _check_text(original, options)
    with ExitStack() as stack:
        watch = stack.enter_context(Watching(quiet=options.json))
        session = _session([candidate, original], watch, quiet=options.json)
        shown = live if options.page else None
        findings = _findings(
            options,
            session,
            mode,
            candidate,
            original if is_compared else None,
            settings,
            tier,
            shown,
            stack,
        )
        watch.close()
        if options.report:
            save_report(report_of(findings), options.report)
        if options.plot:
            save_report_picture(report_of(findings), options.plot)
        if options.json:
            tell_json(findings)
        else:
            tell(findings)
            if shown and is_compared:
                print(say("The page stays until Ctrl-C."), flush=True)
                with suppress(KeyboardInterrupt):
                    threading.Event().wait()
    return 1 if findings.tested and findings.tested.judgement.verdict == "fail" else 0


def _findings(
    options: TestOptions,
    session: Session,
    mode: Mode,
    candidate: Model,
    original: Model | None,
    settings: ContextSettings,
    tier: Tier,
    live: Live | None,
    stack: ExitStack,
) -> Findings:
    """What is measured of one model; a page that `live` makes stays open as long as `stack`."""
    own, asked = named_texts(options.texts), named_prompts(options.prompts)
    items = named_tasks(options.tasks, options.language).items
    is_read = original is not None and (
        settings.cache != F16_CACHE or not _same_file(session, candidate, original)
    )
    if options.plot and not is_read and (options.no_speed or not options.full_speed):
        raise nothing_to_draw(options.plot)
    read = floor = page = None
    if original:
        check_same_tokenizer(original, candidate)
        page = stack.enter_context(live(title(candidate, original), tier)) if live else None
        if page:
            print(say("The interval closes at {url}", url=page.url), file=sys.stderr, flush=True)
        windows = (
            windows_of(session, original, own=own, prompts=asked, parts=("test",))
            if is_read
            else []
        )
        read = tested(
            session,
            candidate,
            original,
            windows,
            tier,
            cache=settings.cache,
            budget_s=parse_seconds(options.budget) if options.budget else inf,
            name=candidate.type_name,
            seen=lambda rows: page.show(rows, [w.domain for w in windows]) if page else None,
        )
        floor = noise_floor(session, original, windows) if read.quality.n_tokens else None
    if page and read:
        page.show(read.rows, read.domains)
        page.finish([verdict_sentence(read, tier), *loss_sentences(read)])
    timing = Timing(session=session, again=options.again)
    name = candidate.type_name
    trial = None if options.no_speed else timing.trial(candidate, settings, name=name)
    points = timing.loads(candidate, settings, trial.speed) if trial and options.full_speed else []
    return Findings(
        model=candidate, settings=settings, original=original, tier=tier, tested=read,
        trial=trial, floor=floor, points=points,
        left_out=depths_left_out(points,
            n_ctx=settings.n_ctx // settings.n_parallel) if points else [],
        graded=graded_answers(session, candidate, items, settings, mode, name=name),
        theirs=graded_answers(session, original, items, settings.with_cache(F16_CACHE), mode,
            name=say("reference")) if original else [],
        chat_template=mode.template.name if mode.template else None,
    )  # fmt: skip


def _session(models: Sequence[Model], watch: Watching, *, quiet: bool) -> Session:
    machine = beside_servers(probe_machine(), [part for model in models for part in model.parts])
    return terminal_session(machine, watch, quiet=quiet)


def _mode(model: Model, options: TestOptions) -> Mode:
    return mode_for(model, options.chat_template, warn=warn) if options.chat_template else Mode()


def _check_text(model: Model, options: TestOptions) -> None:
    needs_text(model, "test", tasks=bool(options.tasks), chat_template=options.chat_template)


def _is_served(options: TestOptions) -> bool:
    """Whether a server is started: for the speed, or to answer tasks."""
    return not options.no_speed or bool(options.tasks)


def _refuse_unfit(
    models: Sequence[Model], settings: Sequence[ContextSettings], options: TestOptions
) -> None:
    """Raises NothingLoaded if a server is to be started for a model that does not fit."""
    if _is_served(options):
        session = terminal_session(aside=True, keeps=False)
        for model, asked in zip(models, settings, strict=True):
            fit_to_load(model, asked, session)


def _same_file(session: Session, model: Model, other: Model) -> bool:
    return session.ledger.model_sha256(model) == session.ledger.model_sha256(other)


def _refuse_loss(given: Collection[str]) -> None:
    """Raises Misuse for an option that asks for a loss where there is nothing to compare with."""
    for option in OF_LOSS:
        if option in given:
            raise Misuse(
                "{option} is about what is lost against a reference, and none was named: there "
                "is nothing to judge; name it with "
                "--reference, or leave {option} out.",
                option=option,
            )
