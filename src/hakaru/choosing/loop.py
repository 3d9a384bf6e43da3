"""The loop that chooses a level: one walk, with figures instead of rules of thumb.

Check how much memory each level needs. Read one level on a few windows: that level predicts the
others, and levels that will lose too much are not even built. Read the rest in rounds, until it is
known which levels keep the tier, and time them through the server. The rule in `rule` chooses.

The source itself takes part. So do levels larger than the source: they cannot be better, but may be
faster. Example: Q8_0 is, on a processor without good kernels for the source's type. The KV cache is
F16 where that fits. The best level is tried once more with a smaller cache, which is taken if the
level is as fast with it and keeps the tier.

A `Field` says which step comes next, without any I/O. Here a `Worker` does the step, and the field
takes the answer.
"""

from collections.abc import Callable, Mapping
from time import monotonic

from msgspec.structs import replace

from hakaru.choosing.candidate import SOURCE, Constraints
from hakaru.choosing.decision import Decision
from hakaru.choosing.evidence import conditions, save_evidence
from hakaru.choosing.field import Field, Terms, entrants
from hakaru.choosing.level_files import LevelFiles
from hakaru.choosing.outlook import Outlook
from hakaru.choosing.rule import why_chosen
from hakaru.choosing.smaller_cache import SMALL_CACHE, is_slow
from hakaru.choosing.steps import Done, Level
from hakaru.choosing.too_small import too_small
from hakaru.choosing.transitions import opened
from hakaru.choosing.worker import Effort, Worker, loop_windows
from hakaru.engine.mode import Mode
from hakaru.errors import EngineRefused, Misuse
from hakaru.evaluation.timing import Timing
from hakaru.evaluation.windows import windows_digest
from hakaru.language import say
from hakaru.memory.footprint import Footprint
from hakaru.memory.settings import F16_CACHE, ContextSettings
from hakaru.models.model import Model
from hakaru.places import one_at_a_time
from hakaru.planning.dry_run import check_memory
from hakaru.planning.here import free_for_models, grown
from hakaru.planning.learned import errors, kind_of, learned_margin
from hakaru.quantization.build import is_mix, plan_presets
from hakaru.quantization.known_mixes import remember_mix
from hakaru.session import Foresee, Session, nobody_waits


def tune_at(
    session: Session,
    model: Model,
    settings: ContextSettings,
    constraints: Constraints,
    effort: Effort | None = None,
    *,
    mix: Mapping[str, str] | None = None,
    mode: Mode | None = None,
    again: bool = False,
) -> Decision:
    """Walk the loop for `model`.

    `mix` is the mix that takes part, types by tensor name: None has one sought, an empty one keeps
    mixes out. `mode` has the chat template of the tasks. `again` measures every speed anew. Raises
    DoesNotFit if not even the smallest level goes into the memory allowed.
    """
    with one_at_a_time(f"tune-{session.ledger.model_sha256(model)[:12]}"):
        effort = effort or Effort()
        recipes = {recipe.preset: recipe for recipe in plan_presets(model, effort.presets)}
        needs = needs_of(session, model, settings)
        terms = _terms(session, model, settings, constraints, effort, needs)
        files = LevelFiles(session=session, source=model, recipes=recipes, keep=effort.keep)
        worker = Worker(
            timing=Timing(session=session, again=again),
            mode=mode or Mode(),
            files=files,
            settings=settings,
            constraints=terms.constraints,
            effort=effort,
            mix=mix,
        )
        candidates = entrants(
            terms, _source(model), [files.level(recipe) for recipe in recipes.values()]
        )
        if not any(c.fits for c in candidates):
            raise too_small(
                session, model, settings, min(candidates, key=lambda c: c.total_bytes), terms.limit
            )
        worker.windows = loop_windows(session, model, effort, ("calibration", "validation"))
        first = opened(replace(terms, n_windows=len(worker.windows)), candidates)
        field = walked(first, worker, session.foresee)
        return _decision(field, worker, uses_gpu=bool(needs.accelerator_bytes))


def walked(
    field: Field,
    worker: Worker,
    foresee: Foresee = nobody_waits,
    clock: Callable[[], float] = monotonic,
) -> Field:
    """The last field. On the way, files of types that have lost are removed, and `foresee` hears
    how long the rest takes as soon as there is a basis for it.
    """
    removed, outlook = frozenset[str](), Outlook(foresee, clock)
    worker.has_timed = outlook.has_timed
    while not isinstance(step := field.next(), Done):
        outlook.begins(field)
        answer = worker.answer(step)
        outlook.ends(answer)
        field = field.after(answer)
        for type_ in field.lost_types() - removed:
            worker.files.remove(type_)
        removed = field.lost_types()
    return field


def needs_of(session: Session, model: Model, settings: ContextSettings) -> Footprint:
    """The memory that a server takes: by the engine's dry run, and what grows with use."""
    check = check_memory(
        model, settings, machine=session.machine, ledger=session.ledger, engine=session.lab
    )
    return grown(check.best, model.shape, settings)


def _source(model: Model) -> Level:
    return Level(type=SOURCE, weights_bytes=model.weights_bytes, bpw=model.bpw)


def _terms(
    session: Session,
    model: Model,
    settings: ContextSettings,
    constraints: Constraints,
    effort: Effort,
    needs: Footprint,
) -> Terms:
    """What does not change on the walk: the memory that may be used, and what a level takes besides
    its weights, which is the same as for the source.
    """
    kind = kind_of(session.machine, model.shape.architecture, needs)
    margin = learned_margin(errors(session.ledger.memory_rows()), kind)
    spare = int(free_for_models(session.machine, needs) * (1 - margin.fraction))
    limit = min(constraints.memory_bytes or spare, spare)
    return Terms(
        constraints=replace(constraints, memory_bytes=limit),
        cache=settings.cache,
        besides_bytes=needs.total_bytes - model.weights_bytes,
        saved_bytes=_saved(session, model, settings, needs),
        n_ctx=settings.n_ctx // settings.n_parallel,
        n_windows=0,
        sweep=effort.sweep,
        rounds=effort.rounds,
    )


def _saved(
    session: Session, model: Model, settings: ContextSettings, needs: Footprint
) -> int | None:
    """Bytes that SMALL_CACHE saves. None where another cache was asked for, or none can be
    smaller.
    """
    if settings.cache != F16_CACHE:
        return None
    try:
        return (
            needs.total_bytes
            - needs_of(session, model, settings.with_cache(SMALL_CACHE)).total_bytes
        )
    except (EngineRefused, Misuse):  # by the engine, or by our arithmetic for a card's kernels
        return None


def _decision(field: Field, worker: Worker, *, uses_gpu: bool) -> Decision:
    """The decision, with its evidence saved. Only the chosen level keeps its file."""
    step, model, windows = field.next(), worker.model, worker.windows
    assert isinstance(step, Done)
    best = step.choice
    largest_first = sorted(field.assessed(), key=lambda c: (-c.weights_bytes, -c.total_bytes))
    judged = [worker.files.identified(c) for c in largest_first]
    why = why_chosen(best, judged) if best else say("no level meets every constraint")
    chosen = None
    if best:
        chosen = replace(
            worker.files.identified(best), why=why, path=worker.files.built(best.type).path
        )
    for recipe in filter(lambda recipe: is_mix(recipe.preset), worker.files.recipes.values()):
        remember_mix(worker.session, model, recipe)
    for type_ in list(worker.files.recipes):
        if best is None or type_ != best.type:
            worker.files.remove(type_)
    others = [c for c in judged if c.fits and c.key != field.source.key]
    swept = [c for c in others if not is_slow(c) and not worker.files.is_copy(c.type)]
    decision = Decision(
        machine=worker.session.machine,
        model=model,
        settings=worker.settings,
        constraints=worker.constraints,
        candidates=tuple(chosen if chosen and c.key == chosen.key else c for c in judged),
        chosen=chosen,
        why=why,
        uses_gpu=uses_gpu,
        tokens_full_sweep=sum(w.n_scored for w in windows) * len(swept),
        conditions=_conditions(worker),
        mode=worker.mode,
    )
    return replace(decision, evidence=save_evidence(model.path.stem, decision.as_json()))


def _conditions(worker: Worker) -> dict[str, object]:
    """What the decision depends on besides its model, settings and constraints."""
    return {
        **conditions(worker.mode),
        "model_sha256": worker.session.ledger.model_sha256(worker.model),
        "windows": {"n": len(worker.windows), "digest": windows_digest(worker.windows)},
        "tasks": worker.constraints.tasks.digest if worker.constraints.tasks else None,
        "levels": list(worker.effort.presets),
        "repeats": worker.effort.repeats,
    }
