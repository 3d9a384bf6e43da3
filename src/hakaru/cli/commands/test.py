"""`hakaru test`: what was lost and how fast it is here, of one model or of several side by side."""

import sys
import threading
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol, cast

from hakaru.cli.next_steps import after_comparison
from hakaru.cli.options import ContextOptions
from hakaru.cli.output import next_step, print_json
from hakaru.cli.progress import Watching
from hakaru.cli.tell.comparison import print_comparison
from hakaru.cli.tell.test import loss_sentences, report_of, tell, title
from hakaru.cli.terminal import terminal_session
from hakaru.cli.words import verdict_sentence
from hakaru.errors import Misuse
from hakaru.evaluation.divergence import check_same_tokenizer
from hakaru.evaluation.losses import Row, Tested
from hakaru.evaluation.test import Wishes, nothing_to_judge, same_file, test
from hakaru.evaluation.tiers import Tier, tier_named
from hakaru.language import say
from hakaru.memory.context import settings_for
from hakaru.memory.settings import F16_CACHE
from hakaru.models.model import Model
from hakaru.models.sources.find import whole_model
from hakaru.pictures.page_file import check_report
from hakaru.pictures.report import nothing_to_draw, save_report, save_report_picture
from hakaru.pictures.save import check_picture
from hakaru.session import Session


@dataclass(frozen=True, kw_only=True)
class TestOptions(ContextOptions):
    """`hakaru test`."""

    models: tuple[str, ...]
    reference: str | None
    texts: tuple[Path, ...]
    prompts: Path | None
    budget: float | None  # seconds
    tasks: tuple[str, ...]
    language: str
    ray: str | None
    chat_template: str | None
    quality: str
    no_speed: bool
    full_speed: bool
    report: Path | None
    plot: Path | None
    page: bool
    again: bool
    json: bool


OF_ONE: Final = ("--report", "--plot", "--page")


class LiveView(Protocol):
    """A page that shows what is known so far."""

    @property
    def url(self) -> str: ...

    def show(self, rows: Sequence[Row], domains: Sequence[str]) -> None: ...

    def finish(self, sentences: Sequence[str]) -> None: ...


Live = Callable[[str, Tier], AbstractContextManager[LiveView]]


def run(options: TestOptions, given: Collection[str] = (), *, live: Live | None = None) -> int:
    """Measure a model file, or several side by side. Returns 1 if one alone fails the tier.

    `given` are the options that the person wrote.
    """
    if len(options.models) > 1:
        return _several(options, given)
    return _one(options, given, live if options.page else None)


def _several(options: TestOptions, given: Collection[str]) -> int:
    for option in OF_ONE:
        if option in given:
            raise Misuse("{option} is of one model; name one.", option=option)
    with Watching(quiet=options.json) as watch:
        first, second, *others = options.models
        session = terminal_session(watching=watch, aside=True, keeps=False)
        comparison = test(first, second, *others, **_wishes(options, given, session))
    if options.json:
        print_json(comparison.as_json())
    else:
        print_comparison(comparison)
        next_step(after_comparison(comparison))
    return 0


def _one(options: TestOptions, given: Collection[str], live: Live | None) -> int:
    if options.report:
        check_report(options.report)
    if options.plot:
        check_picture(options.plot)
    model = whole_model(options.models[0])
    with ExitStack() as stack:
        watch = stack.enter_context(Watching(quiet=options.json))
        session = terminal_session(watching=watch, aside=True, keeps=False)
        wishes, original = _wishes(options, given, session), _original(model, options)
        if options.reference:
            wishes["reference"] = original  # the model, which is not looked for again
        _refuse_empty_picture(options, session, model, original)
        if options.page and original is None:
            raise nothing_to_judge("--page")
        if live and original:
            _open_page(wishes, stack, live, model, original)
        findings = test(model, **wishes)
        watch.close()
        if options.report:
            save_report(report_of(findings), options.report)
        if options.plot:
            save_report_picture(report_of(findings), options.plot)
        if options.json:
            print_json(findings.as_json())
        else:
            tell(findings)
            if live:
                print(say("The page stays until Ctrl-C."), flush=True)
                with suppress(KeyboardInterrupt):
                    threading.Event().wait()
    return 1 if findings.tested and findings.tested.judgement.verdict == "fail" else 0


def _wishes(options: TestOptions, given: Collection[str], session: Session) -> Wishes:
    """What the verb is asked. A tier is named only where the person wrote one."""
    wishes: Wishes = {
        "reference": options.reference, "tasks": options.tasks, "language": options.language,
        "chat_template": options.chat_template, "no_speed": options.no_speed,
        "full_speed": options.full_speed, "again": options.again, "ray": options.ray,
        "session": session,
    }  # fmt: skip
    wishes = cast("Wishes", {**wishes, **options.as_context()})
    if options.texts:
        wishes["texts"] = options.texts
    if options.prompts:
        wishes["prompts"] = options.prompts
    if options.budget:
        wishes["budget_s"] = options.budget
    if "--quality" in given:
        wishes["tier"] = options.quality
    return wishes


def _original(model: Model, options: TestOptions) -> Model | None:
    """What the model is compared with; None for nothing."""
    if options.reference:
        return whole_model(options.reference)
    has_other_cache = settings_for(model, **options.as_context()).cache != F16_CACHE
    return model if has_other_cache else None


def _refuse_empty_picture(
    options: TestOptions, session: Session, model: Model, original: Model | None
) -> None:
    """Raises Misuse for a picture where no window is read and no context is timed."""
    if options.plot and (options.no_speed or not options.full_speed):
        has_other_cache = settings_for(model, **options.as_context()).cache != F16_CACHE
        if original is None or (not has_other_cache and same_file(session, model, original)):
            raise nothing_to_draw(options.plot)


def _open_page(wishes: Wishes, stack: ExitStack, live: Live, model: Model, original: Model) -> None:
    """Show the loss on a page from now on, which stays open as long as `stack`."""
    check_same_tokenizer(original, model)
    tier = tier_named(wishes.get("tier", "balanced"))
    page = stack.enter_context(live(title(model, original), tier))
    print(say("The interval closes at {url}", url=page.url), file=sys.stderr, flush=True)

    def judged(tested: Tested) -> None:
        page.show(tested.rows, tested.domains)
        page.finish([verdict_sentence(tested, tier), *loss_sentences(tested)])

    wishes["seen"], wishes["judged"] = page.show, judged
