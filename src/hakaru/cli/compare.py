"""`hakaru test A B …`: several models side by side, on the same windows, the same tasks, the same machine."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from hakaru.cli.output import Watching, print_json, print_table, print_text, with_interval
from hakaru.cli.tasks import doubts, right_in, unended
from hakaru.cli.wording import CONTENDED, contention, speed_in, verdict_word
from hakaru.engine.mode import Mode
from hakaru.errors import Misuse
from hakaru.evaluation.divergence import check_same_tokenizer, quality_of
from hakaru.evaluation.judgement import Judgement, judge
from hakaru.evaluation.statistics import paired_ratio
from hakaru.evaluation.tasks import Graded, Item, Pairs, accuracy, named_tasks, pair
from hakaru.evaluation.texts import Document
from hakaru.evaluation.tiers import Quality, Tier
from hakaru.evaluation.windows import Window, least_to_read
from hakaru.hardware.probe import probe_machine
from hakaru.language import say
from hakaru.memory.settings import ContextSettings
from hakaru.models.model import Model
from hakaru.serving.deployment import beside_servers
from hakaru.session import Session
from hakaru.tuning.bench import Bench, Row
from hakaru.tuning.trial import Trial
from hakaru.units import Figure, format_bytes

MOST_WINDOWS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One of the models, and what was measured of it; None or empty where it was not asked for."""

    model: Model
    rows: Sequence[Row]
    quality: Quality | None
    judgement: Judgement | None
    trial: Trial | None
    graded: Sequence[Graded]

    def as_json(self) -> dict[str, Any]:
        """The entry of `models`."""
        right = accuracy(self.graded)
        return {
            "path": str(self.model.path), "bytes": self.model.weights_bytes, "bpw": self.model.bpw,
            "quality": self.quality.as_json() if self.quality else None,
            "verdict": self.judgement.verdict if self.judgement else None, "speed": self.trial.speed.as_json() if self.trial else None,
            "memory": self.trial.memory.parts() | {"total_bytes": self.trial.memory.total_bytes} if self.trial else {},
            "task_accuracy": right.as_json() if right else None,
            "tasks_empty": sum(g.is_empty for g in self.graded), "tasks_cut": sum(g.is_cut for g in self.graded),
        }  # fmt: skip


def run(
    *,
    models: Sequence[Model],
    reference: Model | None,
    own: Sequence[Document],
    prompts: Sequence[str],
    tier: Tier,
    tasks: tuple[str, ...],
    language: str,
    settings: Sequence[ContextSettings],
    no_speed: bool,
    again: bool,
    json: bool,
    mode: Mode,
) -> int:
    """Measure the models and compare each two. Raises Misuse where nothing can be compared, or for another vocabulary."""
    items = named_tasks(tasks, language).items
    if reference is None and not items and no_speed:
        raise Misuse("several models are compared with a --reference of the same vocabulary, on --tasks, or by their speed; name one of the first "
                     "two, or leave --no-speed out.")  # fmt: skip
    for model in models if reference else ():
        check_same_tokenizer(reference or model, model)
    with Watching(quiet=json) as watch:
        machine = beside_servers(probe_machine(), [part for model in models for part in model.parts])
        bench = Bench(Session.here(machine=machine, watch=watch), again=again)
        bench.mode = mode
        windows = bench.windows(reference, parts=("test",), own=own, prompts=prompts) if reference else []
        found = _measured(bench, models, reference, windows, items, settings, tier, no_speed=no_speed)
    if json:
        print_json(_as_json(found, reference, tier) | {"chat_template": mode.template.name if mode.template else None})
    else:
        _print(found, tier)
    return 0


def _measured(
    bench: Bench, models: Sequence[Model], reference: Model | None, windows: Sequence[Window], items: Sequence[Item],
    settings: Sequence[ContextSettings], tier: Tier, *, no_speed: bool,
) -> list[Measured]:  # fmt: skip
    rows: dict[str, list[Row]] = {}
    domains = [w.domain for w in windows]
    n_read = min(max(MOST_WINDOWS, least_to_read(domains)), len(windows))
    if reference:
        for group in bench.side_by_side(models, reference):
            files = {bench.ledger.model_sha256(model): model.path for model in group}
            rows |= bench.divergences(files, reference, windows, n=n_read, cache=settings[0].cache)
    found = []
    for model, asked in zip(models, settings, strict=True):
        own_rows = rows.get(bench.ledger.model_sha256(model), [])
        found.append(
            Measured(
                model=model, rows=own_rows, quality=quality_of(own_rows, domains) if own_rows else None,
                judgement=judge(own_rows, domains[: len(own_rows)], tier) if own_rows else None,
                trial=None if no_speed else bench.trial(model, asked, name=model.path.name),
                graded=bench.answers(model, items, asked, name=model.path.name) if items else (),
            )
        )  # fmt: skip
    return found


def _ratio(a: Measured, b: Measured) -> tuple[Figure | None, str]:
    """The KLD of `a` over that of `b` on the same windows, None where one of them loses nothing; and which of them loses less."""
    ours, theirs = ([r["kld"] for r in each.rows] for each in (a, b))
    if sum(ours) <= 0 or sum(theirs) <= 0:
        return None, "first" if sum(ours) < sum(theirs) else "second" if sum(theirs) < sum(ours) else "cannot tell"
    ratio, below = paired_ratio(ours, theirs)
    return ratio, "first" if below else "second" if ratio.lowest > 1 else "cannot tell"


def _faster(a: Figure, b: Figure) -> tuple[Figure, str]:
    """The rate `a` over the rate `b`, whose interval goes from the ends of theirs that lie nearest to those that lie farthest; and which is the
    higher one.
    """
    low, high = a.lowest / b.highest, a.highest / b.lowest
    ratio = Figure(value=a.value / b.value, unit="ratio", source="measured", low=low, high=high)
    return ratio, "first" if low > 1 else "second" if high < 1 else "cannot tell"


def _rates(a: Trial, b: Trial) -> dict[str, tuple[Figure, Figure]]:
    """The rates of two models that are compared."""
    names = {"decode": "decode_tokens_per_s", "prefill": "prefill_tokens_per_s"}
    return {rate: (getattr(a.speed, name), getattr(b.speed, name)) for rate, name in names.items()}


def _as_json(found: Sequence[Measured], reference: Model | None, tier: Tier) -> dict[str, Any]:
    pairs = []
    for a, b in combinations(found, 2):
        told: dict[str, Any] = {
            "first": str(a.model.path), "second": str(b.model.path), "kld_ratio": None, "less_loss": None, "speed": None, "tasks": None,
        }  # fmt: skip
        if a.rows and b.rows:
            ratio, told["less_loss"] = _ratio(a, b)
            told["kld_ratio"] = ratio.as_json() if ratio else None
        if a.trial and b.trial:
            rates = {rate: _faster(*both) for rate, both in _rates(a.trial, b.trial).items()}
            told["speed"] = {rate: {"ratio": ratio.as_json(), "faster": faster} for rate, (ratio, faster) in rates.items()}
            told["speed"]["contended"] = a.trial.speed.is_contended or b.trial.speed.is_contended
        if a.graded:
            told["tasks"] = pair(a.graded, b.graded).as_json()
        pairs.append(told)
    return {"schema": "hakaru.comparison/1", "reference": str(reference.path) if reference else None, "tier": tier.name if reference else None,
            "models": [each.as_json() for each in found], "pairs": pairs}  # fmt: skip


def _print(found: Sequence[Measured], tier: Tier) -> None:
    print_table(*_table(found, tier))
    for sentence in contention(each.trial.speed for each in found if each.trial):
        print_text(sentence)
    for sentence in [sentence for each in found for sentence in unended(each.graded, each.model.path.name)]:
        print_text(sentence)
    for told in doubts(*(each.graded for each in found)):
        print_text(told)
    for a, b in combinations(found, 2):
        names = {"first": a.model.path.name, "second": b.model.path.name}
        if a.rows and b.rows:
            print_text(_loss_sentence(*_ratio(a, b), names))
        if a.trial and b.trial:
            spoken = {"decode": say("Decode"), "prefill": say("Prefill")}
            mark = CONTENDED if a.trial.speed.is_contended or b.trial.speed.is_contended else ""
            for rate, both in _rates(a.trial, b.trial).items():
                print_text(_speed_sentence(spoken[rate], *_faster(*both), names) + mark)
        if a.graded:
            print_text(_tasks_sentence(pair(a.graded, b.graded), names))
    if not any(each.quality or each.graded for each in found):
        print_text(say("Quality was not compared: name a --reference of the same vocabulary, or ask for --tasks."))


def _table(found: Sequence[Measured], tier: Tier) -> tuple[list[str], list[list[str]]]:
    """The head, and a row for each model: a column for all that was asked for."""
    has_quality, has_speed, has_tasks = any(e.quality for e in found), any(e.trial for e in found), any(e.graded for e in found)
    head = [say("model"), say("weights"), say("bits")]
    head += [say("mean KLD"), say("top-1")] if has_quality else []
    head += [say("memory"), say("tokens/s"), say("prefill")] if has_speed else []
    head += [say("tasks")] if has_tasks else []
    head += [say("tier {tier}", tier=tier.name)] if has_quality else []
    rows = []
    for each in found:
        row = [each.model.path.name, format_bytes(each.model.weights_bytes), f"{each.model.bpw:.2f}"]
        if each.quality:
            row += [with_interval(each.quality.kld_mean, ".5f"), f"{each.quality.top1_agreement.value:.1%}"]
        if each.trial:
            prefill = with_interval(each.trial.speed.prefill_tokens_per_s, ".0f")
            row += [format_bytes(each.trial.memory.total_bytes), speed_in(each.trial.speed), prefill]
        row += [right_in(each.graded)] if has_tasks else []
        row += [verdict_word(each.judgement)] if each.judgement else []
        rows.append(row)
    return head, rows


def _loss_sentence(ratio: Figure | None, less: str, names: dict[str, str]) -> str:
    if ratio is None and less != "cannot tell":
        return say(
            "{first} loses nothing, {second} does.", first=names[less], second=names["second" if less == "first" else "first"]
        )
    if ratio is None:
        return say("Neither {first} nor {second} loses anything.", **names)
    told = {"ratio": ratio.value, "low": ratio.lowest, "high": ratio.highest, **names}
    if less == "cannot tell":
        return say("{first} and {second}: cannot tell their losses apart ({ratio:.2f} [{low:.2f}…{high:.2f}]).", **told)
    return say("{first} loses {ratio:.2f} [{low:.2f}…{high:.2f}] of what {second} loses.", **told)


def _speed_sentence(rate: str, ratio: Figure, faster: str, names: dict[str, str]) -> str:
    low, high = ratio.lowest, ratio.highest
    if faster == "cannot tell":
        return say("{rate}: {first} and {second}: cannot tell their speeds apart ({ratio:.2f} [{low:.2f}…{high:.2f}]).",
                   rate=rate, ratio=ratio.value, low=low, high=high, **names)  # fmt: skip
    value, low, high = (ratio.value, low, high) if faster == "first" else (1 / ratio.value, 1 / high, 1 / low)
    return say("{rate}: {faster} is {ratio:.2f} [{low:.2f}…{high:.2f}] times as fast as {slower}.", rate=rate, ratio=value, low=low, high=high,
               faster=names[faster], slower=names["second" if faster == "first" else "first"])  # fmt: skip


def _tasks_sentence(found: Pairs, names: dict[str, str]) -> str:
    told = {"lost": found.lost, "won": found.won, "p": found.p, **names}
    if found.verdict == "cannot tell":
        return say("Tasks: {second} lost {lost} and won {won} against {first}: cannot tell them apart (p = {p:.2g}; {percent:.1%} of the tasks would "
                   "have been seen).", percent=found.detectable, **told)  # fmt: skip
    return say("Tasks: {second} lost {lost} and won {won} against {first} (p = {p:.2g}).", **told)
