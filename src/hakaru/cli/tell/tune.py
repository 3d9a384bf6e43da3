"""What the loop decided, told as text and as a report."""

from pathlib import Path
from typing import Final

from hakaru.choosing.candidate import SOURCE, Candidate, bare_name
from hakaru.choosing.decision import Decision
from hakaru.choosing.opening import what_loss_is, what_was_asked, wishes
from hakaru.choosing.replay import Replay
from hakaru.choosing.speculated import means_name
from hakaru.cli.output import print_text, show_table
from hakaru.cli.tell.decision_table import decision_table, legend, spanned
from hakaru.cli.tell.guesses import print_speculated
from hakaru.cli.tell.reasons import reasons, why_taken
from hakaru.cli.tell.tasks import pairs_sentence
from hakaru.cli.tell.ways_on import way_out
from hakaru.cli.words import contention, suspicion
from hakaru.cli.wrapping import whole
from hakaru.engine.unused import idle_gpu
from hakaru.evaluation.tiers import one_word_in
from hakaru.language import say
from hakaru.units import format_bytes

LONGEST_CONDITION: Final = 60


def print_decision(decision: Decision) -> None:
    """The candidates, the reasons, and what was chosen."""
    if decision.machine.devices and not decision.uses_gpu:
        print_text(idle_gpu(decision.machine))
    print()
    show_table(decision_table(decision))
    for sentence in _sentences(decision):
        print_text(sentence)
    if decision.speculated:
        print_speculated(decision.speculated)
    print_text(_evidence(decision))


def save_decision_report(decision: Decision, path: Path) -> None:
    """The same as a page with the picture of the levels. Raises Misuse, MachineError."""
    import altair  # half a second at import

    from hakaru.pictures.page_file import save_page
    from hakaru.pictures.pareto import pareto_chart

    asked = say("Asked for: {wishes}.", wishes=say(", ").join(_wishes(decision)))
    sentences = [sentence.strip() for sentence in (asked, *_sentences(decision))]
    title = say("{name}: what was weighed, and what was taken", name=decision.model.title)
    table = decision_table(decision)
    save_page(
        path,
        title=title,
        sentences=[*sentences, _evidence(decision)],
        head=table.head(),
        table=table.full(),
        chart=pareto_chart(decision, altair),
    )


def _evidence(decision: Decision) -> str:
    return say("Evidence: {path}", path=whole(str(decision.evidence)))


def _wishes(decision: Decision) -> list[str]:
    return wishes(decision.constraints, decision.settings)


def _sentences(decision: Decision) -> list[str]:
    """What the marks mean, reasons, the choice, and what it took to make it."""
    chosen = decision.chosen
    told = [legend(decision)]
    told += contention(c.speed for c in decision.candidates if c.speed)
    told += [f"  {reason}" for reason in reasons(decision)]
    told += _choice(decision, chosen) if chosen else _nothing(decision)
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


def _nothing(decision: Decision) -> list[str]:
    told = [say("Nothing was chosen: {why}.", why=decision.why)]
    if way := way_out(decision):
        told.append(way.sentence)
    return told


def _choice(decision: Decision, chosen: Candidate) -> list[str]:
    """What was chosen and why, and what was found of it at last."""
    told = [
        say(
            "Chosen: {type}, {why}. It needs {needs} of memory.",
            type=chosen.name,
            why=why_taken(decision, chosen),
            needs=format_bytes(chosen.total_bytes),
        )
    ]
    if chosen.path:
        told.append(say("File: {path}", path=whole(str(chosen.path))))
    told += suspicion(chosen.judgement) if chosen.judgement else []
    if lost := chosen.untouched:
        told.append(
            say(
                "Proven on {n} windows of text that played no part in the choice: loss {kld}, "
                "top-1 {top1:.1%}. At most one word in {words} comes out differently.",
                n=lost.n_windows,
                kld=spanned(lost.kld_mean, ".4f"),
                top1=lost.top1_agreement.value,
                words=one_word_in(lost.kld_mean.highest),
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


def print_replay(replayed: Replay) -> None:
    """A decision that was walked again, what changed since, and whether it holds."""
    decision = replayed.decision
    print_text(what_was_asked(decision.constraints, decision.settings))
    print_text(what_loss_is(decision.constraints.tier))
    print_decision(decision)
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
    level, _, guesser = label.partition(", guessed by ")
    type_, _, cache = level.partition(", KV cache ")
    name = bare_name(type_)
    name = say("{type}, KV cache {cache}", type=name, cache=cache) if cache else name
    if not guesser:
        return name
    return say("{name}, guessed ahead by {what}", name=name, what=means_name(guesser) or guesser)


def _short(value: object) -> str:
    """A condition as it is printed: of a digest the beginning."""
    text = say("not recorded") if value is None else str(value)
    return text if len(text) <= LONGEST_CONDITION else f"{text[:LONGEST_CONDITION]}…"
