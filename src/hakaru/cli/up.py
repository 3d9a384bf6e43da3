"""`hakaru up`: the whole way in one command."""

from pathlib import Path
from typing import Any

from hakaru.cli.hardware import describe
from hakaru.cli.output import Watching, print_json, print_table, print_text, warn_idle_gpu, with_interval
from hakaru.cli.serve import serve
from hakaru.cli.settings import settings_for
from hakaru.cli.tasks import pairs_sentence
from hakaru.cli.wording import contention, speed_in, suspicion
from hakaru.errors import Misuse
from hakaru.evaluation.tasks import named_tasks
from hakaru.evaluation.tiers import Quality, tier_named
from hakaru.hardware.probe import probe_machine
from hakaru.language import say
from hakaru.models.embedded import embedded_model
from hakaru.models.model import Model
from hakaru.models.sources.find import whole_model
from hakaru.pictures.save import check_picture
from hakaru.quantization.source import source_kind
from hakaru.serving.deployment import Pages, running
from hakaru.tuning.bench import LEAST_FOR_INTERVALS, Bench
from hakaru.tuning.decide import SOURCE, Candidate, Constraints
from hakaru.tuning.decision import Decision
from hakaru.tuning.ledger import Ledger
from hakaru.tuning.loop import Effort, tune
from hakaru.units import Figure, format_bytes, format_params, parse_bytes


def run(
    *,
    model: str | None,
    quality: str,
    min_speed: float | None,
    memory: str | None,
    tasks: tuple[str, ...],
    language: str,
    port: int | None,
    no_serve: bool,
    again: bool,
    json: bool,
    pages: Pages | None,
    plot: Path | None = None,
    **options: Any,
) -> int:
    """Decide, and serve what was chosen. Returns 1 if nothing meets every constraint."""
    if min_speed is not None and not min_speed > 0:
        raise Misuse("--min-speed is {found}, expected a number of tokens per second above 0.", found=min_speed)
    if plot:
        check_picture(plot)
    tier, limit = tier_named(quality), parse_bytes(memory) if memory else None
    found = whole_model(model or embedded_model())
    settings = settings_for(found, **options)
    machine = probe_machine()
    asked = named_tasks(tasks, language) if tasks else None
    constraints = Constraints(tier=tier, min_tokens_per_s=min_speed, memory_bytes=limit, tasks=asked)
    if not json:
        print("\n".join(describe(machine)))
        print_text(_model_line(found))
        if warning := source_kind(found).sentence():
            print_text(warning)
    with Watching(quiet=json) as watch:
        bench = Bench(machine=machine, ledger=Ledger(watch=watch), watch=watch, again=again)
        decision = tune(bench, found, settings, constraints, effort_beside_servers())
    if plot:
        from hakaru.pictures.pareto import save_pareto_picture

        save_pareto_picture(decision, plot)
    if json:
        print_json(decision.as_json())
    else:
        print_decision(decision)
    if decision.chosen is None or decision.chosen.path is None:
        return 1
    return 0 if no_serve else serve(decision.chosen.path, decision.served, port, pages, quiet=json)


def effort_beside_servers() -> Effort:
    """The usual effort, which leaves the files of running servers alone."""
    return Effort(keep=frozenset(Path(d.path) for d in running()))


def _model_line(model: Model) -> str:
    return say("Model      {name} ({architecture}, {type}, {params} parameters, {bytes})",
               name=model.name, architecture=model.shape.architecture, type=model.type_name,
               params=format_params(model.n_params), bytes=format_bytes(model.weights_bytes))  # fmt: skip


def print_decision(decision: Decision) -> None:
    """The candidates, the reasons, and what was chosen."""
    if decision.machine.devices and not decision.uses_gpu:
        warn_idle_gpu()
    header = ["", say("type"), say("weights"), say("bits"), say("mean KLD"), say("top-1"), say("tokens/s")]
    print_table(header, [_row(c, decision.chosen) for c in decision.candidates], left=2)
    if any(_is_early(c.quality) for c in decision.candidates):
        print_text(say("* settled after fewer than {n} windows", n=LEAST_FOR_INTERVALS))
    for sentence in contention(c.speed for c in decision.candidates if c.speed):
        print_text(sentence)
    reasons: dict[str, list[str]] = {}
    for candidate in decision.candidates:
        if candidate is not decision.chosen:
            reasons.setdefault(candidate.why, []).append(candidate.name)
    for reason, names in reasons.items():
        print_text(say("  {names}: {reason}.", names=", ".join(names), reason=reason.rstrip(".")))
    wishes = [
        say("tier {tier}", tier=decision.constraints.tier.name),
        say("{n_ctx} tokens of context", n_ctx=decision.settings.n_ctx),
        say("at most {memory}", memory=format_bytes(decision.constraints.memory_bytes or 0)),
    ]
    if decision.constraints.min_tokens_per_s:
        wishes.append(say("at least {n:g} tokens/s", n=decision.constraints.min_tokens_per_s))
    print_text(say("Asked for: {wishes}.", wishes=say(", ").join(wishes)))
    if decision.chosen:
        needs = format_bytes(decision.chosen.total_bytes)
        print_text(say("Chosen: {type}, {why}. It needs {needs}.", type=decision.chosen.name, why=decision.why, needs=needs))
        for sentence in suspicion(decision.chosen.judgement) if decision.chosen.judgement else []:
            print_text(sentence)
        if lost := decision.chosen.untouched:
            print_text(say("On {n} windows of texts that played no part in the choice: mean KLD {kld}, top-1 {top1:.1%}.",
                      n=lost.n_windows, kld=_spanned(lost.kld_mean, ".4f"), top1=lost.top1_agreement.value))  # fmt: skip
        if decision.chosen.tasks:
            print_text(pairs_sentence(decision.chosen.tasks))
        elif decision.constraints.tasks and decision.chosen.type != SOURCE:
            print_text(say("The tasks were not asked: the source, to which its answers are compared, does not fit."))
    else:
        print_text(
            say(
                "Nothing was chosen: {why}. Ask for less: --quality compact, a lower --min-speed, or a smaller model.",
                why=decision.why,
            )
        )
    if decision.tokens_full_sweep:
        print_text(say("Read for it: {n:,} tokens, {percent:.0%} of what all levels on all texts would have taken.",
                  n=decision.tokens_evaluated, percent=decision.tokens_evaluated / decision.tokens_full_sweep))  # fmt: skip
    print(say("Evidence: {path}", path=decision.evidence))


def _row(candidate: Candidate, chosen: Candidate | None) -> list[str]:
    lost, speed = candidate.quality, candidate.speed
    return [
        "→" if candidate is chosen else "✓" if candidate.passes else "✗",
        candidate.name,
        format_bytes(candidate.weights_bytes),
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
