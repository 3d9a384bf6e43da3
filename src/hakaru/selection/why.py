"""Why a row is among the rows, in words. Pure."""

from hakaru.language import say
from hakaru.models.benchmarks import why_no_benchmark
from hakaru.selection.boards import better_up, columns_for, ties
from hakaru.selection.contender import Contender
from hakaru.selection.frontier import who_beats
from hakaru.selection.searching import Search
from hakaru.selection.traffic import Traffic


def why(contender: Contender, search: Search) -> str:
    """One sentence, or a part of one: what speaks for the row beside the recommended one, and what
    it misses.
    """
    if contender is search.recommended:
        return why_recommended(search)
    return say("; ").join(why_parts(contender, search))


def why_parts(contender: Contender, search: Search) -> list[str]:
    """The same in pieces, the most telling first; for another row than the recommended one."""
    first, parts = search.recommended, list[str]()
    if contender.is_below_four_bits:
        parts.append(say("only below four bits"))
    elif contender.score is None:
        parts.append(say("not measured on this board") if search.lead else say("not measured"))
    elif other := who_beats(contender, search.frontier):
        parts.append(say("{name} is ahead in score, speed and memory", name=other.model.id))
    elif first and first.score:
        parts.append(_against(contender, first))
    if contender.measured and contender.measured.verdict == "pass":
        parts.append(say("keeps tier {tier}, measured here", tier=contender.measured.tier))
    return [*parts, *misses(contender, search)]


def why_recommended(search: Search) -> str:
    """The reason for the recommended row. Empty where there is none."""
    first = search.recommended
    if first is None:
        return ""
    caveats = misses(first, search)
    if first.is_below_four_bits:
        caveats.insert(0, say("nothing else fits, so it has fewer than four bits"))
    reason = _reason(first, search)
    return say("; ").join([reason, *caveats])


def _reason(first: Contender, search: Search) -> str:
    if first.score is None or search.lead is None:
        unknown = why_no_benchmark(search.conditions.task, search.conditions.language)
        if search.lead is None:
            told = say("the most downloaded that meets everything, which says nothing of how good")
            return f"{unknown.rstrip('.。')}: {told}" if unknown else told
        return say("no row that meets everything was measured on this board")
    if len({contender.model.id for contender in search.contenders}) == 1:
        return say("the largest type that meets everything")
    pool = [contender for contender in search.pool if contender.score]
    if search.is_slow:
        return say(
            "none of {n} measured models is as fast as wished for; this is the fastest", n=len(pool)
        )
    best = max(pool, key=lambda contender: better_up(contender.score) if contender.score else 0.0)
    if best is first and first.misses:
        return say(
            "no measured model meets everything; the best score of {n} that miss the least: "
            "{value:g}",
            n=len(pool),
            value=first.score.value,
        )
    if best is first:
        return say(
            "the best score of {n} measured models that meet everything: {value:g}",
            n=len(pool),
            value=first.score.value,
        )
    assert best.score
    return say(
        "{value:g} beside {best:g} of {name} is within the board's noise, and it is faster",
        value=first.score.value,
        best=best.score.value,
        name=best.model.id,
    )


def disagreements(search: Search) -> list[str]:
    """Where another column that speaks for the task would recommend another row."""
    first, lead, task = search.recommended, search.lead, search.conditions.task
    if first is None or first.score is None or lead is None:
        return []
    told = []
    for column in columns_for(task, lead.language)[1:]:
        ours = column.score_of(first.model, task)
        scored = [(column.score_of(row.model, task), row) for row in search.pool]
        pairs = [(score, row) for score, row in scored if score]
        if ours is None or not pairs:
            continue
        best, row = max(pairs, key=lambda pair: better_up(pair[0]))
        if not ties(ours, best):
            told.append(
                say(
                    "{metric} says otherwise: {best:g} for {name}, {ours:g} for this one.",
                    metric=column.benchmark,
                    best=best.value,
                    name=row.model.id,
                    ours=ours.value,
                )
            )
    return told


def _against(contender: Contender, first: Contender) -> str:
    """How a row of the frontier differs from the recommended one."""
    assert contender.score and first.score
    parts = []
    if better_up(contender.score) != better_up(first.score):
        ahead = better_up(contender.score) > better_up(first.score)
        parts.append(say("better score") if ahead else say("lower score"))
    if contender.speed != first.speed:
        parts.append(say("faster") if contender.speed > first.speed else say("slower"))
    if contender.memory_bytes != first.memory_bytes:
        less = contender.memory_bytes < first.memory_bytes
        parts.append(say("smaller") if less else say("larger"))
    return say(", ").join(parts)


def misses(contender: Contender, search: Search) -> list[str]:
    """The wishes that a row does not meet."""
    told, traffic = list[str](), search.conditions.traffic
    speeds, wanted = contender.speeds, traffic.decode_tokens_per_s
    if "decode_tokens_per_s" in contender.misses and speeds.decode:
        told.append(
            say(
                "{found:.1f} of the {wanted:g} tokens/s wished for",
                found=speeds.decode.value,
                wanted=wanted,
            )
        )
    elif "decode_tokens_per_s" in contender.misses and speeds.most:
        told.append(
            say(
                "at most {most:.1f} of the {wanted:g} tokens/s wished for, from RAM of 100 GB/s",
                most=speeds.most,
                wanted=wanted,
            )
        )
    if "tier" in contender.misses and contender.measured:
        told.append(say("breaks tier {tier}, measured here", tier=contender.measured.tier))
    if "first_token_s" in contender.misses:
        told.append(_late(contender, traffic))
    if "answers" in contender.misses and search.lead:
        answered = search.lead.answered(contender.model, search.conditions.task)
        told.append(say("gave only {n:g}% of the answers", n=answered))
    return told


def _late(contender: Contender, traffic: Traffic) -> str:
    """That the first word comes later than wished for."""
    if contender.first_token_s is not None:
        return say(
            "first word after {found:.1f} s, not {wanted:g} s",
            found=contender.first_token_s,
            wanted=traffic.first_token_s,
        )
    most = contender.speeds.most_prefill or 1.0
    return say(
        "first word after {found:.0f} s or more on a PC, not {wanted:g} s",
        found=traffic.n_prompt / most,
        wanted=traffic.first_token_s,
    )
