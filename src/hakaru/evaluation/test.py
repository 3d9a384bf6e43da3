"""What was lost and how fast it is here: the verb behind `hakaru test`.

Of one model: what the model loses against a reference, its speed and memory through the server, and
its answers to tasks. Several models are measured the same way, and every two of them compared.
"""

from collections.abc import Callable, Sequence
from functools import partial
from math import inf
from pathlib import Path
from typing import Final, Unpack, cast, overload

from msgspec import Struct
from msgspec.structs import replace

from hakaru.engine.mode import Mode
from hakaru.engine.mode_of import mode_for, needs_text
from hakaru.errors import Interrupted, Misuse
from hakaru.evaluation.answers import graded_answers
from hakaru.evaluation.comparison import Comparison, measured_side_by_side
from hakaru.evaluation.divergence import check_same_tokenizer
from hakaru.evaluation.findings import Findings
from hakaru.evaluation.last_test import remember_test
from hakaru.evaluation.losses import FLOOR_WINDOWS, Row, Tested, noise_floor, tested, windows_of
from hakaru.evaluation.speed import depths_left_out
from hakaru.evaluation.spread import Respondent, spread
from hakaru.evaluation.tasks import Item, named_tasks
from hakaru.evaluation.texts import named_prompts, named_texts
from hakaru.evaluation.tiers import Tier, tier_named
from hakaru.evaluation.timing import Timing
from hakaru.evaluation.windows import Window
from hakaru.language import say, spelled
from hakaru.memory.context import Context, settings_for
from hakaru.memory.settings import F16_CACHE, ContextSettings
from hakaru.models.model import Model
from hakaru.models.sources.find import Reference, whole_model
from hakaru.models.spoken_type import spoken_type
from hakaru.planning.to_load import fit_to_load
from hakaru.servers import beside_servers
from hakaru.session import Session, last_step
from hakaru.units import Figure

OF_ONE: Final = ("budget_s", "full_speed")
"""Wishes that a test of several models refuses."""
OF_LOSS: Final = ("texts", "prompts", "tier", "budget_s")
"""Wishes that say how the loss is measured or judged."""


class Wishes(Context, total=False):
    """What is asked of a test beside its models. Behind each wish stand its meaning and, after the
    semicolon, its default.
    """

    reference: Reference | None  # what the loss is measured against; None: nothing is compared
    texts: Sequence[Path]  # files that are read beside the texts at hand; none
    prompts: Path | None  # one prompt a line, whose answers by the reference are read, too; None
    budget_s: float  # seconds for reading windows; without end
    tier: str  # the tier that is judged; balanced
    tasks: Sequence[str]  # "ours", "humaneval" or JSONL files; none
    language: str  # of our tasks; en
    chat_template: str | None  # in the place of the model's own: a name or a file; None
    ray: str | None  # the Ray cluster on which tasks are answered: auto or HOST:PORT; None: here
    no_speed: bool  # nothing is timed; False
    full_speed: bool  # decoding behind long contexts and for several users is timed, too; False
    again: bool  # speeds that were measured before are measured anew; False
    seen: Callable[[Sequence[Row], Sequence[str]], None]
    """Called while windows are read: with the rows so far, and the kind of text of every window."""
    judged: Callable[[Tested], None]  # called when the loss is known, before the speed is
    session: Session | None  # `Session.here()`


@overload
def test(model: Reference, /, **wishes: Unpack[Wishes]) -> Findings: ...


@overload
def test(
    model: Reference, other: Reference, /, *others: Reference, **wishes: Unpack[Wishes]
) -> Comparison: ...


def test(
    model: Reference, /, *others: Reference, **wishes: Unpack[Wishes]
) -> Findings | Comparison:
    """What `model` loses against a `reference`, how fast it is here, and how it does at `tasks`. Of
    several models: the same of each, compared.

    Example: `test("small.gguf", reference="large.gguf").quality.kld_mean`.

    The loss of one model with another KV cache than F16's is measured against the model itself, if
    no reference is named. Raises Misuse where nothing can be measured or compared, NothingLoaded
    (see `fit_to_load`) before anything is measured, ModelError, EngineError, and Interrupted, after
    which the same call goes on.
    """
    setup = _set_up([model, *others], wishes)
    try:
        if address := wishes.get("ray"):
            _answer_elsewhere(setup, address)
        if others:
            return _compared(setup, no_speed=wishes.get("no_speed", False))
        return _findings(setup, wishes)
    except KeyboardInterrupt as stop:
        raise Interrupted(
            say(
                "interrupted; what was read, timed and answered is kept: the same command goes on "
                "there."
            )
        ) from stop


class _Setup(Struct, frozen=True, kw_only=True):
    """The models and the wishes, read and checked."""

    models: list[Model]
    settings: list[ContextSettings]  # of each model
    reference: Model | None  # None: nothing is compared
    tier: Tier
    items: Sequence[Item]  # the tasks
    mode: Mode  # how the servers that answer tasks are run
    timing: Timing
    windows: Callable[[Model], list[Window]]  # makes the windows of a reference

    @property
    def session(self) -> Session:
        """The session of the test."""
        return self.timing.session

    @property
    def template(self) -> str | None:
        """The name of the chat template that takes the place of the models' own."""
        return self.mode.template.name if self.mode.template else None


def _set_up(references: Sequence[Reference], wishes: Wishes) -> _Setup:
    """Read the models and whatever else the wishes name. Raises Misuse and NothingLoaded."""
    models = [whole_model(name) for name in references]
    settings = [settings_for(model, **_context(wishes)) for model in models]
    reference = _reference(models, settings, wishes)
    template, tasks = wishes.get("chat_template"), wishes.get("tasks", ())
    for model in [*models, *([reference] if reference else [])]:
        needs_text(model, "test", tasks=bool(tasks), chat_template=template)
    items = named_tasks(tasks, wishes.get("language", "en")).items
    windows = partial(
        windows_of,
        own=named_texts(wishes.get("texts", ())),
        prompts=named_prompts(wishes.get("prompts")),
        parts=("test",),
    )
    no_speed, address = wishes.get("no_speed", False), wishes.get("ray")
    session = wishes.get("session") or Session.here(keeps=False)
    if len(models) > 1 and reference is None and no_speed and not items:
        raise Misuse(
            "several models are compared with a `reference` of the same vocabulary, on `tasks`, or "
            "by their speed; name one of the first two, or leave `no_speed` out."
        )
    if address:
        _check_ray(address, items)
    for model in models if reference else ():
        check_same_tokenizer(reference or model, model)
    for model, context in zip(models, settings, strict=True):
        if (items and not address) or not no_speed:
            fit_to_load(model, context, session)
    parts = [part for model in [*models, reference or models[0]] for part in model.parts]
    session = replace(session, machine=beside_servers(session.machine, parts))
    return _Setup(
        models=models,
        settings=settings,
        reference=reference,
        tier=tier_named(wishes.get("tier", "balanced")),
        items=items,
        mode=mode_for(models[0], template, warn=session.warn) if template else Mode(),
        timing=Timing(session=session, again=wishes.get("again", False)),
        windows=partial(windows, session),
    )


def _context(wishes: Wishes) -> Context:
    """Those of the wishes that are settings of the context."""
    by_name: dict[str, object] = dict(wishes)
    return cast("Context", {n: by_name[n] for n in by_name.keys() & Context.__annotations__})


def _reference(
    models: Sequence[Model], settings: Sequence[ContextSettings], wishes: Wishes
) -> Model | None:
    """The model with which the models are compared; None: nothing is compared. Raises Misuse for a
    wish about the loss where nothing is compared, and for a wish about one model where several are
    named.
    """
    if len(models) > 1:
        for field in OF_ONE:
            if wishes.get(field):
                raise Misuse("{option} is of one model; name one.", option=spelled(f"`{field}`"))
    reference = wishes.get("reference")
    if reference is not None:
        return whole_model(reference)
    if len(models) == 1 and settings[0].cache != F16_CACHE:
        return models[0]
    for field in OF_LOSS:
        if field in wishes:
            raise nothing_to_judge(spelled(f"`{field}`"))
    return None


def nothing_to_judge(option: str) -> Misuse:
    """The refusal of an option about a loss where nothing is compared."""
    return Misuse(
        "{option} is about what is lost against a reference, and none was named: there is nothing "
        "to judge; name it with `reference`, or leave {option} out.",
        option=option,
    )


def _check_ray(address: str, items: Sequence[Item]) -> None:
    """Raises Misuse and MachineError for a cluster that cannot be used."""
    if not items:
        raise Misuse(
            "`ray` says where `tasks` are answered, and none were named; name them, or leave `ray` "
            "out."
        )
    from hakaru.evaluation.over_ray import check_ray

    check_ray(address)


def _answer_elsewhere(setup: _Setup, address: str) -> None:
    """Have all tasks answered on the Ray cluster, so that the ledger has the answers. Raises why a
    model could not answer.
    """
    from hakaru.evaluation.over_ray import over_ray

    settings = setup.settings
    everyone = [
        Respondent(model=model, settings=context, mode=setup.mode)
        for model, context in zip(setup.models, settings, strict=True)
    ]
    if setup.reference and len(setup.models) == 1:
        f16 = settings[0].with_cache(F16_CACHE)
        everyone.append(Respondent(model=setup.reference, settings=f16, mode=setup.mode))
    connect = partial(over_ray, address, setup.session)
    for error in spread(setup.session, everyone, setup.items, connect).values():
        raise error


def _findings(setup: _Setup, wishes: Wishes) -> Findings:
    (model,), (settings,), reference = setup.models, setup.settings, setup.reference
    no_speed, full_speed = wishes.get("no_speed"), wishes.get("full_speed")
    loss, floor = _loss(setup, reference, wishes) if reference else (None, None)
    timing, name = setup.timing, spoken_type(model)
    if not setup.items and not full_speed:
        timing = replace(timing, session=last_step(setup.session))
    trial = None if no_speed else timing.trial(model, settings, name=name)
    points = timing.loads(model, settings, trial.speed) if trial and full_speed else []
    answers = partial(graded_answers, setup.session, items=setup.items, mode=setup.mode)
    f16 = settings.with_cache(F16_CACHE)
    return Findings(
        model=model,
        settings=settings,
        original=reference,
        tier=setup.tier,
        tested=loss,
        floor=floor,
        trial=trial,
        points=points,
        left_out=depths_left_out(points, n_ctx=settings.tokens_each) if points else [],
        graded=answers(model, settings=settings, name=name),
        theirs=answers(reference, settings=f16, name=say("reference")) if reference else [],
        chat_template=setup.template,
    )


def _loss(setup: _Setup, reference: Model, wishes: Wishes) -> tuple[Tested, Figure | None]:
    """What the model loses, and the noise floor of the reference; the floor is None where no window
    was read.
    """
    session, (model,), (settings,) = setup.session, setup.models, setup.settings
    if wishes.get("no_speed") and not setup.items:
        session = last_step(session, may_end_early=True, n_behind=FLOOR_WINDOWS)
    is_read = settings.cache != F16_CACHE or not same_file(session, model, reference)
    windows = setup.windows(reference) if is_read else []
    domains, seen = [w.domain for w in windows], wishes.get("seen")
    loss = tested(
        session,
        model,
        reference,
        windows,
        setup.tier,
        cache=settings.cache,
        budget_s=wishes.get("budget_s", inf),
        name=spoken_type(model),
        seen=lambda rows: seen(rows, domains) if seen else None,
    )
    floor = noise_floor(session, reference, windows) if loss.quality.n_tokens else None
    remember_test(
        session.ledger,
        session.ledger.model_sha256(model),
        settings.cache,
        loss,
        tier=setup.tier.name,
        reference=reference.path.name,
    )
    if judged := wishes.get("judged"):
        judged(loss)
    return loss, floor


def same_file(session: Session, model: Model, other: Model) -> bool:
    """Whether both are the same file, by their hashes."""
    return session.ledger.model_sha256(model) == session.ledger.model_sha256(other)


def _compared(setup: _Setup, *, no_speed: bool) -> Comparison:
    reference = setup.reference
    measured = measured_side_by_side(
        setup.timing,
        setup.models,
        reference,
        setup.windows(reference) if reference else [],
        setup.items,
        setup.settings,
        setup.tier,
        mode=setup.mode,
        no_speed=no_speed,
    )
    return Comparison(
        measured=measured, reference=reference, tier=setup.tier, chat_template=setup.template
    )
