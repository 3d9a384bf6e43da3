"""Why a race ends as it does, in words; and what so few tasks cannot tell. Pure."""

from hakaru.language import listed, say
from hakaru.selection.finish import Lap, Race


def why_won(race: Race) -> str:
    """One sentence, or a part of one, for the racer to take; empty where there was no race."""
    winner, best = race.winner, race.best
    if winner is None or best is None:
        return ""
    parts = [_reason(winner, best, race)]
    if winner.misses(race.conditions):
        parts.append(say("no racer meets every wish, as it was measured"))
    return say("; ").join(parts)


def _reason(winner: Lap, best: Lap, race: Race) -> str:
    others = [lap for lap in race.as_good if lap is not winner]
    if not others and len(race.pool) == 1 and any(not lap.stopped for lap in _besides(race)):
        return say("the only one that meets every wish, as it was measured")
    fields = {"right": winner.n_right, "n": winner.n}
    if not others:
        return say("it solved {right} of {n} tasks, beyond chance more than the others", **fields)
    if winner is not best:
        return say(
            "{right} of {n} tasks beside {best} of {name} is within chance, and it is faster: "
            "{ours:.1f} beside {theirs:.1f} tokens/s",
            best=best.n_right,
            name=best.row.model.id,
            ours=winner.decode.value,
            theirs=best.decode.value,
            **fields,
        )
    names = listed([lap.row.model.id for lap in others])
    if all(lap.n_right < winner.n_right for lap in others):
        return say(
            "{right} of {n} tasks, the most; {names} may be as good, and are no faster by more "
            "than a tenth",
            names=names,
            **fields,
        )
    return say("{right} of {n} tasks, as many as {names}, and it is smaller", names=names, **fields)


def _besides(race: Race) -> list[Lap]:
    """The racers that are not in the pool."""
    return [lap for i, lap in enumerate(race.laps) if i not in race.pool]


def untold(race: Race) -> float | None:
    """The difference in the share of solved tasks that the race would not have seen between racers
    that it cannot tell apart; None where it tells all apart.
    """
    open_ones = [one.detectable for one in race.duels.values() if one.verdict == "cannot tell"]
    return max(open_ones, default=None)
