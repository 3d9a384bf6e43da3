"""What the loop decided, told as text and as a report."""

from pathlib import Path
from typing import Final

from hakaru.choosing.candidate import SOURCE, Candidate
from hakaru.choosing.decision import Decision
from hakaru.choosing.replay import Replay
from hakaru.cli.output import print_table, print_text, with_interval
from hakaru.cli.tell.tasks import pairs_sentence
from hakaru.cli.words import contention, speed_in, suspicion
from hakaru.engine.unused import idle_gpu
from hakaru.evaluation.losses import LEAST_FOR_INTERVALS
from hakaru.evaluation.tiers import Quality
from hakaru.language import say
from hakaru.units import Figure, format_bytes

LONGEST_CONDITION: Final = 60


def print_decision(decision: Decision) -> None:
    """The candidates, the reasons, and what was chosen."""
    if decision.machine.devices and not decision.uses_gpu:
        print_text(idle_gpu(decision.machine))
    print_table(_head(), _table(decision), left=2)
    for sentence in _sentences(decision):
        print_text(sentence)
    print(_evidence(decision))


def save_decision_report(decision: Decision, path: Path) -> None:
    """The same as a page with the picture of the levels. Raises Misuse, MachineError."""
    import altair  # half a second at import

    from hakaru.pictures.page_file import save_page
    from hakaru.pictures.pareto import pareto_chart

    sentences = [*(sentence.strip() for sentence in _sentences(decision)), _evidence(decision)]
    title = say("{name}: what was weighed, and what was taken", name=decision.model.name)
    save_page(
        path,
        title=title,
        sentences=sentences,
        head=_head(),
        table=_table(decision),
        chart=pareto_chart(decision, altair),
    )


def _evidence(decision: Decision) -> str:
    return say("Evidence: {path}", path=decision.evidence)


def _head() -> list[str]:
    return [
        "",
        say("type"),
        say("weights"),
        say("memory"),
        say("bits"),
        say("mean KLD"),
        say("top-1"),
        say("tokens/s"),
    ]


def _table(decision: Decision) -> list[list[str]]:
    return [_row(c, decision.chosen) for c in decision.candidates]


def _sentences(decision: Decision) -> list[str]:
    """Marks, reasons, wishes, the choice, and what it took to make it."""
    chosen, told = decision.chosen, list[str]()
    if any(_is_early(c.quality) for c in decision.candidates):
        told.append(say("* settled after fewer than {n} windows", n=LEAST_FOR_INTERVALS))
    told += contention(c.speed for c in decision.candidates if c.speed)
    reasons: dict[str, list[str]] = {}
    for candidate in decision.candidates:
        if candidate is not chosen:
            reasons.setdefault(candidate.why, []).append(candidate.name)
    told += [
        say("  {names}: {reason}.", names=say(", ").join(names), reason=reason.rstrip("."))
        for reason, names in reasons.items()
    ]
    told.append(say("Asked for: {wishes}.", wishes=say(", ").join(_wishes(decision))))
    told += (
        _choice(decision, chosen)
        if chosen
        else [
            say(
                "Nothing was chosen: {why}. Ask for less: --quality compact, a lower "
                "--min-speed, or a smaller model.",
                why=decision.why,
            )
        ]
    )
    if decision.tokens_full_sweep:
        told.append(
            say(
                "Read for it: {n:,} tokens, {percent:.0%} of what all levels on all texts would "
                "have taken.",
                n=decision.tokens_evaluated,
                percent=decision.tokens_evaluated / decision.tokens_full_sweep,
            )
        )
    return told


def _wishes(decision: Decision) -> list[str]:
    wishes = [
        say("tier {tier}", tier=decision.constraints.tier.name),
        say("{n_ctx} tokens of context", n_ctx=decision.settings.n_ctx),
        say("at most {memory}", memory=format_bytes(decision.constraints.memory_bytes or 0)),
    ]
    if decision.constraints.min_tokens_per_s:
        wishes.append(say("at least {n:g} tokens/s", n=decision.constraints.min_tokens_per_s))
    return wishes


def _choice(decision: Decision, chosen: Candidate) -> list[str]:
    """What was chosen and why, and what was found of it at last."""
    needs = format_bytes(chosen.total_bytes)
    told = [
        say(
            "Chosen: {type}, {why}. It needs {needs}.",
            type=chosen.name,
            why=decision.why,
            needs=needs,
        )
    ]
    told += suspicion(chosen.judgement) if chosen.judgement else []
    if lost := chosen.untouched:
        told.append(
            say(
                "On {n} windows of texts that played no part in the choice: mean KLD {kld}, "
                "top-1 {top1:.1%}.",
                n=lost.n_windows,
                kld=_spanned(lost.kld_mean, ".4f"),
                top1=lost.top1_agreement.value,
            )
        )
    if chosen.tasks:
        told.append(pairs_sentence(chosen.tasks))
    elif decision.constraints.tasks and chosen.type != SOURCE:
        told.append(
            say(
                "The tasks were not asked: the source, to which its answers are compared, does "
                "not fit."
            )
        )
    return told


def _row(candidate: Candidate, chosen: Candidate | None) -> list[str]:
    lost, speed = candidate.quality, candidate.speed
    return [
        "→" if candidate is chosen else "✓" if candidate.passes else "✗",
        candidate.name,
        format_bytes(candidate.weights_bytes),
        format_bytes(candidate.total_bytes),
        f"{candidate.bpw:.2f}",
        (_spanned(lost.kld_mean, ".4f") + ("*" if _is_early(lost) else "")) if lost else "-",
        f"{lost.top1_agreement.value:.1%}" if lost else "-",
        speed_in(speed) if speed else "-",
    ]


def _is_early(quality: Quality | None) -> bool:
    return quality is not None and 0 < quality.n_windows < LEAST_FOR_INTERVALS


def _spanned(figure: Figure, style: str) -> str:
    if figure.low is None or figure.high is None or figure.low == figure.high:
        return f"{figure.value:{style}}"
    return with_interval(figure, style)


def print_replay(replayed: Replay) -> None:
    """A decision that was walked again, what changed since, and whether it holds."""
    print_decision(replayed.decision)
    for what, then, now in replayed.changed:
        print_text(
            say(
                "Changed since then: {what} was {then}, is {now}.",
                what=what,
                then=_short(then),
                now=_short(now),
            )
        )
    if replayed.holds:
        print_text(say("The decision holds: {type}.", type=_spoken(replayed.now)))
    else:
        print_text(
            say(
                "The decision does not hold: it was {before}, it is {now}.",
                before=_spoken(replayed.before),
                now=_spoken(replayed.now),
            )
        )


def _spoken(label: str | None) -> str:
    """The name of a candidate in evidence, in the language in use."""
    if label is None:
        return say("nothing")
    type_, _, cache = label.partition(", KV cache ")
    name = say("source") if type_ == SOURCE else type_
    return say("{type}, KV cache {cache}", type=name, cache=cache) if cache else name


def _short(value: object) -> str:
    """A condition as it is printed: of a digest the beginning."""
    text = say("not recorded") if value is None else str(value)
    return text if len(text) <= LONGEST_CONDITION else f"{text[:LONGEST_CONDITION]}…"
