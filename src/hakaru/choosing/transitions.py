"""How one field follows from another. Pure.

`opened` makes the first field. The transitions stand in the order in which they are walked; each takes the field and the answer that it
waited for, and returns the next field:

    settled -> foretold -> turns of rounds, with the mix joining after the first -> timed -> the best
            -> the best with a smaller KV cache, and all again
            -> proven on untouched texts, examined at the tasks; if it fails, all again without it
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import log

from hakaru.choosing import steps
from hakaru.choosing.candidate import SOURCE, Candidate, Key
from hakaru.choosing.field import Field, Terms, Turn, entrant
from hakaru.choosing.rounds import next_round
from hakaru.choosing.rule import beaten_by, choose, objection
from hakaru.choosing.smaller_cache import depth_for, next_smaller, slowness
from hakaru.evaluation.tasks import Pairs
from hakaru.language import say
from hakaru.memory.settings import F16_CACHE


def opened(terms: Terms, candidates: Sequence[Candidate]) -> Field:
    """The field of these candidates, the first of which is the source."""
    return Field(terms=terms, candidates={c.key: c for c in candidates}, step=steps.Settle(candidates[0].key), then=_settled)


def _settled(field: Field, reading: steps.Reading) -> Field:
    return _race_opened(field.having_read([field.source.key], {field.source.key: reading}))


def _race_opened(field: Field) -> Field:
    """Those of which it is open whether they keep the tier; who of them is worth reading is predicted first."""
    open_ = [
        c.key for c in field.candidates.values() if c.fits and c.verdict in (None, "inconclusive") and not c.beaten_by and not c.why
    ]
    field = replace(field, racing=tuple(key for key in open_ if key != field.source.key))
    if not field.terms.has_rounds:
        return _next_turn(field)
    return field.asks(steps.Predict((*dict.fromkeys([*field.racing, *_untimed(field)]),)), _nearest_foretold)


def _untimed(field: Field) -> tuple[Key, ...]:
    """Those of whom a prediction is told; not those that are tried again with another cache."""
    return tuple(c.key for c in field.candidates.values() if c.speed is None)


def _nearest_foretold(field: Field, klds: steps.Predictions) -> Field:
    """The level that is predicted nearest to the tier's bound is read first: it tells most of all the others."""
    bound = field.terms.constraints.tier.kld_mean
    told = [(abs(log(kld.value / bound)), key) for key in field.racing if (kld := klds[key])]
    if not told or field.candidates[min(told)[1]].quality:
        return _foretold(field, klds)
    return field.asks(steps.Read((min(told)[1],), field.terms.rounds[0]), _nearest_read)


def _nearest_read(field: Field, answer: steps.Readings | str) -> Field:
    assert isinstance(field.step, steps.Read)
    field = field.having_read(field.step.keys, answer)
    return field.asks(steps.Predict(_untimed(field)), _foretold)


def _foretold(field: Field, klds: steps.Predictions) -> Field:
    """The levels that are predicted to break the tier are not even built."""
    tier, sweep = field.terms.constraints.tier, field.terms.sweep
    field = field.having(*(replace(field.candidates[key], predicted=klds[key]) for key in _untimed(field)))
    racing = []
    for c in (field.candidates[key] for key in field.racing):
        if c.predicted and c.is_hopeless(tier) and not sweep:
            why = say("predicted to lose {kld:.4f} [{low:.4f}…{high:.4f}] nats per token, more than the tier {tier} allows",
                      kld=c.predicted.value, low=c.predicted.lowest, high=c.predicted.highest, tier=tier.name)  # fmt: skip
            field = field.having(replace(c, why=why))
        elif not c.why and (sweep or c.verdict in (None, "inconclusive")):
            racing.append(c.key)
    field = replace(field, racing=tuple(racing))
    return _next_turn(field) if racing else _mix_sought(field, _first_joined)


def _mix_sought(field: Field, then: Callable[[Field, steps.Level | None], Field]) -> Field:
    """The mix joins once, when levels were read that tell where it should lie."""
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
    """Who is still in the race is timed, beside those that pass: the rule then tells who cannot win any more."""
    field = _with_mix(field, level)
    if not field.racing or field.terms.sweep:
        return _next_turn(field)
    passing = [c.key for c in field.candidates.values() if c.verdict == "pass" and c.fits]
    return field.times([*field.racing, *passing], _beaten_left)


def _beaten_left(field: Field, speeds: steps.Speeds) -> Field:
    """Who cannot win any more, whatever else is read, is read no further."""
    field = field.having_speeds(speeds)
    others = [
        c for c in field.candidates.values() if not c.why and (c.verdict != "pass" or objection(c, field.terms.constraints) is None)
    ]
    racing = []
    for c in (field.candidates[key] for key in field.racing):
        if winner := beaten_by(c, others):
            field = field.having(replace(c, beaten_by=winner.type))
        else:
            racing.append(c.key)
    return _next_turn(replace(field, racing=tuple(racing)))


def _next_turn(field: Field) -> Field:
    """The turn of those that the rule would rather take; without a race, everyone worth it is timed."""
    if not field.racing:
        worth = [c.key for c in field.candidates.values() if c.quality and objection(c, field.terms.constraints) is None]
        return field.times(worth, _decided)
    open_, n = [field.candidates[key] for key in field.racing], field.terms.n_windows
    turn, n = (open_, n) if field.terms.sweep else next_round(open_, n, field.terms.rounds)
    keys = tuple(c.key for c in turn)
    waiting = tuple(key for key in field.racing if key not in keys)
    return replace(field, turn=Turn(waiting=waiting, n_windows=n)).asks(steps.Group(keys), _grouped)


def _grouped(field: Field, groups: steps.Groups) -> Field:
    assert field.turn
    return _next_group(replace(field, turn=replace(field.turn, groups=groups)))


def _next_group(field: Field) -> Field:
    assert field.turn
    if field.turn.groups:
        return field.asks(steps.Read(field.turn.groups[0], field.turn.n_windows), _group_read)
    left = [key for key in field.turn.unsettled if field.candidates[key].n_read < field.terms.n_windows]
    return _mix_sought(replace(field, racing=(*field.turn.waiting, *left), turn=None), _joined)


def _group_read(field: Field, answer: steps.Readings | str) -> Field:
    assert field.turn
    group, *others = field.turn.groups
    open_ = () if isinstance(answer, str) else tuple(key for key in group if answer[key].judgement.verdict == "inconclusive")
    turn = replace(field.turn, groups=tuple(others), unsettled=(*field.turn.unsettled, *open_))
    return _next_group(replace(field.having_read(group, answer), turn=turn))


def _decided(field: Field, speeds: steps.Speeds) -> Field:
    """The best of those that pass: first tried with a smaller KV cache, then proven."""
    field, terms = field.having_speeds(speeds), field.terms
    best = choose(judged := field.assessed())
    if best is None:
        return field.asks(steps.Done(None), _stays)
    small = next_smaller(judged, best, terms.saved_bytes, terms.limit) if terms.saved_bytes is not None else None
    if small:
        return replace(field, small=small).asks(steps.Time((small.key,)), _small_timed)
    if best.key == (SOURCE, F16_CACHE):  # it loses nothing
        return _taken(field, best)
    return field.asks(steps.Prove(best.key), _proven)


def _small_timed(field: Field, speeds: steps.Speeds) -> Field:
    """With the smaller cache it is compared with itself at an empty context, and if it is as fast there, behind a longer one."""
    assert field.small
    small = replace(field.small, speed=speeds[field.small.key])
    usual = field.candidates[small.type, F16_CACHE]
    assert small.speed and usual.speed
    field, why = replace(field, small=small), slowness(small.speed, usual.speed)
    depth = depth_for(small.speed, usual.speed, field.terms.n_ctx)
    if why or not depth:
        return _small_joined(field, why)
    return field.asks(steps.TimeDeep((small.key, usual.key), (small.speed, usual.speed), depth), _small_timed_deep)


def _small_timed_deep(field: Field, points: steps.Points) -> Field:
    assert field.small
    small, usual = field.small, field.candidates[field.small.type, F16_CACHE]
    assert small.speed and usual.speed
    ours, theirs = points
    return _small_joined(field, slowness(small.speed, usual.speed, (ours, theirs)) if ours and theirs else None)


def _small_joined(field: Field, why_slow: str | None) -> Field:
    assert field.small
    return _race_opened(replace(field.having(replace(field.small, why=why_slow or "")), small=None))


def _best(field: Field) -> Candidate:
    best = choose(field.assessed())
    assert best
    return best


def _proven(field: Field, reading: steps.Reading) -> Field:
    """Where it keeps the tier on untouched texts, too, it is taken, or examined first."""
    best = replace(_best(field), untouched=reading.quality)
    if reading.judgement.verdict == "fail":
        return _disqualified(
            field, replace(best, judgement=reading.judgement, passes=False, why=say("breaks the tier on untouched texts"))
        )
    if field.terms.constraints.tasks and field.source.fits:  # else the source cannot be served to answer them
        return field.having(best).asks(steps.Examine(best.key), _examined)
    return _taken(field, best)


def _examined(field: Field, pairs: Pairs) -> Field:
    """It does not pass if it is proven worse at the tasks than the source."""
    best = replace(_best(field), tasks=pairs)
    if pairs.verdict != "worse":
        return _taken(field, best)
    why = say(
        "worse than the source at the tasks: {lost} lost and {won} won (p = {p:.2g})", lost=pairs.lost, won=pairs.won, p=pairs.p
    )
    return _disqualified(field, replace(best, passes=False, why=why))


def _disqualified(field: Field, failed: Candidate) -> Field:
    """Whom it had beaten may still win."""
    freed = [replace(c, beaten_by=None) for c in field.candidates.values() if c.beaten_by == failed.type]
    return _race_opened(field.having(*freed, failed))


def _taken(field: Field, best: Candidate) -> Field:
    return field.having(best).asks(steps.Done(best), _stays)


def _stays(field: Field, _: object) -> Field:
    return field
