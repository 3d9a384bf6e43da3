"""How one field follows from another. Pure.

`opened` makes the first field. The transitions stand in the order in which they are walked. A
transition takes a field and the answer that this field waited for, and returns the next field:

    settled -> foretold -> turns of rounds; the mix joins after the first -> timed -> the best
            -> the best with a smaller KV cache, and the race again
            -> the best proven on untouched texts, then examined at the tasks; if the best fails,
               the race again without it
"""

from collections.abc import Callable, Sequence
from math import log

from msgspec.structs import replace

from hakaru.choosing import steps
from hakaru.choosing.candidate import SOURCE, Candidate, Key
from hakaru.choosing.field import Field, Terms, Turn, entrant, with_speed
from hakaru.choosing.rounds import next_round
from hakaru.choosing.rule import beaten_by, choose, objection
from hakaru.choosing.smaller_cache import depth_for, next_smaller, slowness
from hakaru.evaluation.grading import Pairs
from hakaru.evaluation.tiers import Tier
from hakaru.language import say
from hakaru.memory.settings import F16_CACHE
from hakaru.units import Figure


def opened(terms: Terms, candidates: Sequence[Candidate]) -> Field:
    """The field of these candidates, the first of which is the source."""
    by_key, step = {c.key: c for c in candidates}, steps.Settle(candidates[0].key)
    return Field(terms=terms, candidates=by_key, step=step, then=_settled)


def _settled(field: Field, reading: steps.Reading) -> Field:
    return _race_opened(field.having_read([field.source.key], {field.source.key: reading}))


def _race_opened(field: Field) -> Field:
    """Opens the race of all candidates that may still pass. First, their losses are predicted."""
    open_ = [c.key for c in field.candidates.values() if _is_open(c)]
    racing = tuple(key for key in open_ if key != field.source.key)
    field = replace(field, racing=racing)
    if not field.terms.has_rounds:
        return _next_turn(field)
    keys = tuple(dict.fromkeys([*racing, *_untimed(field)]))
    return field.asks(steps.Predict(keys), _nearest_foretold)


def _is_open(candidate: Candidate) -> bool:
    may_pass = candidate.verdict in (None, "inconclusive")
    is_out = candidate.beaten_by or candidate.why or candidate.why_untimed
    return candidate.fits and may_pass and not is_out


def _untimed(field: Field) -> tuple[Key, ...]:
    """The candidates whose predictions are shown. A level that is tried with SMALL_CACHE was timed
    before, and has none.
    """
    return tuple(c.key for c in field.candidates.values() if c.speed is None)


def _nearest_foretold(field: Field, klds: steps.Predictions) -> Field:
    """The level that is predicted nearest to the tier's bound is read first: it tells most of the
    other levels.
    """
    bound = field.terms.constraints.tier.kld_mean
    distances = [(abs(log(kld.value / bound)), key) for key in field.racing if (kld := klds[key])]
    nearest = min(distances, default=(0.0, None))[1]
    if nearest is None or field.candidates[nearest].quality:
        return _foretold(field, klds)
    return field.asks(steps.Read((nearest,), field.terms.rounds[0]), _nearest_read)


def _nearest_read(field: Field, answer: steps.Readings | str) -> Field:
    assert isinstance(field.step, steps.Read)
    field = field.having_read(field.step.keys, answer)
    return field.asks(steps.Predict(_untimed(field)), _foretold)


def _foretold(field: Field, klds: steps.Predictions) -> Field:
    """Levels that are predicted to break the tier leave the race before they are built."""
    untimed = [field.candidates[key] for key in _untimed(field)]
    field = field.having(*(replace(c, predicted=klds[c.key]) for c in untimed))
    tier, sweep, racing = field.terms.constraints.tier, field.terms.sweep, list[Key]()
    for c in (field.candidates[key] for key in field.racing):
        if c.predicted and c.is_hopeless(tier) and not sweep:
            field = field.having(replace(c, why=_why_hopeless(c.predicted, tier)))
        elif not c.why and (sweep or c.verdict in (None, "inconclusive")):
            racing.append(c.key)
    field = replace(field, racing=tuple(racing))
    return _next_turn(field) if racing else _mix_sought(field, _first_joined)


def _why_hopeless(kld: Figure, tier: Tier) -> str:
    return say(
        "predicted to lose {kld:.4f} [{low:.4f}…{high:.4f}] nats per token, more than the tier "
        "{tier} allows",
        kld=kld.value,
        low=kld.lowest,
        high=kld.highest,
        tier=tier.name,
    )


def _mix_sought(field: Field, then: Callable[[Field, steps.Level | None], Field]) -> Field:
    """Seeks the mix, once: after levels were read that tell how much the mix may lose."""
    if field.mix_sought or not field.terms.has_rounds:
        return then(field, None)
    return replace(field, mix_sought=True).asks(steps.Mix(), then)


def _with_mix(field: Field, level: steps.Level | None) -> Field:
    if level is None:
        return field
    mix = entrant(level, field.terms)
    joins = mix.fits and not level.is_copy
    return replace(field.having(mix), racing=(*field.racing, mix.key) if joins else field.racing)


def _first_joined(field: Field, level: steps.Level | None) -> Field:
    return _next_turn(_with_mix(field, level))


def _joined(field: Field, level: steps.Level | None) -> Field:
    """Times the candidates that race and those that pass: then the rule tells which cannot win."""
    field = _with_mix(field, level)
    if not field.racing or field.terms.sweep:
        return _next_turn(field)
    passing = [c.key for c in field.candidates.values() if c.verdict == "pass" and c.fits]
    return field.times([*field.racing, *passing], _losers_leave)


def _losers_leave(field: Field, speeds: steps.Speeds) -> Field:
    """Candidates that cannot win, whatever is read later, leave the race; so do candidates that
    could not be timed.
    """
    field, racing = field.having_speeds(speeds), list[Key]()
    candidates = field.candidates.values()
    rivals = [c for c in candidates if not c.why and not _breaks_a_constraint(c, field)]
    for c in (field.candidates[key] for key in field.racing):
        if winner := beaten_by(c, rivals):
            field = field.having(replace(c, beaten_by=winner.type))
        elif not c.why_untimed:
            racing.append(c.key)
    return _next_turn(replace(field, racing=tuple(racing)))


def _breaks_a_constraint(candidate: Candidate, field: Field) -> bool:
    """Whether a candidate keeps the tier and is out all the same. Example: the candidate is too
    slow.
    """
    is_out = objection(candidate, field.terms.constraints) is not None
    return candidate.verdict == "pass" and is_out


def _next_turn(field: Field) -> Field:
    """The next turn of the race. After the race, all candidates that may be chosen are timed."""
    if not field.racing:
        eligible = [c.key for c in field.candidates.values() if _is_eligible(c, field)]
        return field.times(eligible, _decided)
    open_, n = [field.candidates[key] for key in field.racing], field.terms.n_windows
    turn, n = (open_, n) if field.terms.sweep else next_round(open_, n, field.terms.rounds)
    keys = tuple(c.key for c in turn)
    waiting = tuple(key for key in field.racing if key not in keys)
    return replace(field, turn=Turn(waiting=waiting, n_windows=n)).asks(steps.Group(keys), _grouped)


def _is_eligible(candidate: Candidate, field: Field) -> bool:
    return candidate.quality is not None and objection(candidate, field.terms.constraints) is None


def _grouped(field: Field, groups: steps.Groups) -> Field:
    assert field.turn
    return _next_group(replace(field, turn=replace(field.turn, groups=groups)))


def _next_group(field: Field) -> Field:
    """The next group of the turn is read. At the turn's end the unsettled stay in the race."""
    assert field.turn
    turn, n_windows = field.turn, field.terms.n_windows
    if turn.groups:
        return field.asks(steps.Read(turn.groups[0], turn.n_windows), _group_read)
    left = [key for key in turn.unsettled if field.candidates[key].n_read < n_windows]
    return _mix_sought(replace(field, racing=(*turn.waiting, *left), turn=None), _joined)


def _group_read(field: Field, answer: steps.Readings | str) -> Field:
    assert field.turn
    turn, group = field.turn, field.turn.groups[0]
    field = field.having_read(group, answer)
    open_ = [key for key in group if field.candidates[key].verdict == "inconclusive"]
    unsettled = turn.unsettled if isinstance(answer, str) else (*turn.unsettled, *open_)
    turn = replace(turn, groups=turn.groups[1:], unsettled=unsettled)
    return _next_group(replace(field, turn=turn))


def _decided(field: Field, speeds: steps.Speeds) -> Field:
    """The best of the candidates that pass is tried with a smaller KV cache, then proven."""
    field = field.having_speeds(speeds)
    candidates, saved, limit = field.assessed(), field.terms.saved_bytes, field.terms.limit
    best = choose(candidates)
    if best is None:
        return field.asks(steps.Done(None), _stays)
    small = next_smaller(candidates, best, saved, limit) if saved is not None else None
    if small:
        return replace(field, small=small).asks(steps.Time((small.key,)), _small_timed)
    if best.key == (SOURCE, F16_CACHE):  # the reference itself loses nothing
        return _taken(field, best)
    return field.asks(steps.Prove(best.key), _proven)


def _small_timed(field: Field, speeds: steps.Speeds) -> Field:
    """The smaller cache is compared with F16 at an empty context, then behind a longer context."""
    assert field.small
    small = with_speed(field.small, speeds[field.small.key])
    if small.why_untimed:
        return _small_joined(field, small.why_untimed)
    usual = field.candidates[small.type, F16_CACHE]
    assert small.speed and usual.speed
    field, why = replace(field, small=small), slowness(small.speed, usual.speed)
    depth = depth_for(small.speed, usual.speed, field.terms.n_ctx)
    if why or not depth:
        return _small_joined(field, why)
    step = steps.TimeDeep((small.key, usual.key), (small.speed, usual.speed), depth)
    return field.asks(step, _small_timed_deep)


def _small_timed_deep(field: Field, answer: steps.Points | str) -> Field:
    assert isinstance(field.step, steps.TimeDeep)
    if isinstance(answer, str):
        return _small_joined(field, answer)
    ours, theirs = answer
    why = slowness(*field.step.speeds, (ours, theirs)) if ours and theirs else None
    return _small_joined(field, why)


def _small_joined(field: Field, why_slow: str | None) -> Field:
    """The level with the smaller cache is one more candidate: open, or out because the cache is
    slow.
    """
    assert field.small
    joined = replace(field.small, why=why_slow or "")
    return _race_opened(replace(field.having(joined), small=None))


def _finalist(field: Field) -> Candidate:
    best = choose(field.assessed())
    assert best
    return best


def _proven(field: Field, reading: steps.Reading) -> Field:
    """A finalist that keeps the tier on untouched texts is taken; with tasks, examined first."""
    best = replace(_finalist(field), untouched=reading.quality)
    if reading.judgement.verdict == "fail":
        why = say("breaks the tier on untouched texts")
        failed = replace(best, judgement=reading.judgement, passes=False, why=why)
        return _disqualified(field, failed)
    if field.terms.constraints.tasks and field.source.fits:  # the source must answer the tasks, too
        return field.having(best).asks(steps.Examine(best.key), _examined)
    return _taken(field, best)


def _examined(field: Field, pairs: Pairs) -> Field:
    """A finalist that is proven worse at the tasks than the source is out."""
    best, lost, won, p = replace(_finalist(field), tasks=pairs), pairs.lost, pairs.won, pairs.p
    if pairs.verdict != "worse":
        return _taken(field, best)
    why = say(
        "worse than the source at the tasks: {lost} lost and {won} won (p = {p:.2g})",
        lost=lost,
        won=won,
        p=p,
    )
    return _disqualified(field, replace(best, passes=False, why=why))


def _disqualified(field: Field, failed: Candidate) -> Field:
    """The finalist is out. The candidates that it had beaten may still win."""
    freed = [c for c in field.candidates.values() if c.beaten_by == failed.type]
    return _race_opened(field.having(*(replace(c, beaten_by=None) for c in freed), failed))


def _taken(field: Field, best: Candidate) -> Field:
    return field.having(best).asks(steps.Done(best), _stays)


def _stays(field: Field, _: object) -> Field:
    return field
