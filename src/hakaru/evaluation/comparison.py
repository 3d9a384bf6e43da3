"""Several models side by side: on the same windows, the same tasks, the same machine."""

from collections.abc import Sequence
from itertools import combinations
from typing import Any, Final

from msgspec import Struct

from hakaru.engine.mode import Mode
from hakaru.evaluation.answers import graded_answers
from hakaru.evaluation.divergence import quality_of
from hakaru.evaluation.grading import Graded, accuracy, pair
from hakaru.evaluation.judgement import Judgement, judge
from hakaru.evaluation.losses import Row, divergences, room_beside
from hakaru.evaluation.memory_groups import in_groups
from hakaru.evaluation.statistics import paired_ratio
from hakaru.evaluation.tasks import Item
from hakaru.evaluation.tiers import Quality, Tier
from hakaru.evaluation.timing import Timing
from hakaru.evaluation.trial import Trial
from hakaru.evaluation.windows import Window, least_to_read
from hakaru.memory.settings import ContextSettings
from hakaru.models.model import Model
from hakaru.units import Figure

MOST_WINDOWS: Final = 60
"""Windows on which models are compared; more only where the person's own text asks for more."""


class Measured(Struct, frozen=True, kw_only=True):
    """One of the models, and what was measured; None or empty where a test leaves it out."""

    model: Model
    rows: Sequence[Row]  # the sums of every window
    quality: Quality | None  # what the model lost against the reference
    judgement: Judgement | None  # what the windows prove of the tier
    trial: Trial | None  # speed and memory
    graded: Sequence[Graded]  # the answers to tasks

    def as_json(self) -> dict[str, Any]:
        """The entry of `models`."""
        right = accuracy(self.graded)
        return {
            "path": str(self.model.path), "bytes": self.model.weights_bytes, "bpw": self.model.bpw,
            "quality": self.quality.as_json() if self.quality else None,
            "verdict": self.judgement.verdict if self.judgement else None,
            "speed": self.trial.speed.as_json() if self.trial else None,
            "memory": self.trial.memory.as_json() if self.trial else {},
            "task_accuracy": right.as_json() if right else None,
            "tasks_empty": sum(g.is_empty for g in self.graded),
            "tasks_cut": sum(g.is_cut for g in self.graded),
        }  # fmt: skip


def measured_side_by_side(
    timing: Timing,
    models: Sequence[Model],
    reference: Model | None,
    windows: Sequence[Window],
    items: Sequence[Item],
    settings: Sequence[ContextSettings],
    tier: Tier,
    *,
    mode: Mode,
    no_speed: bool,
) -> list[Measured]:
    """What each model loses against the reference, its speed, and its answers to the tasks.
    `settings` are those of each model.
    """
    session, rows = timing.session, dict[str, list[Row]]()
    domains = [w.domain for w in windows]
    n_read = min(max(MOST_WINDOWS, least_to_read(domains)), len(windows))
    if reference:
        for group in in_groups(models, room_beside(session, reference)):
            files = {session.ledger.model_sha256(model): model.path for model in group}
            cache = settings[0].cache
            rows |= divergences(session, files, reference, windows, n=n_read, cache=cache)
    measured = []
    for model, context in zip(models, settings, strict=True):
        own_rows, name = rows.get(session.ledger.model_sha256(model), []), model.path.name
        measured.append(
            Measured(
                model=model, rows=own_rows,
                quality=quality_of(own_rows, domains) if own_rows else None,
                judgement=judge(own_rows, domains[: len(own_rows)], tier) if own_rows else None,
                trial=None if no_speed else timing.trial(model, context, name=name),
                graded=graded_answers(session, model, items, context, mode, name=name),
            )
        )  # fmt: skip
    return measured


class Comparison(Struct, frozen=True, kw_only=True):
    """Several models, measured the same way."""

    measured: Sequence[Measured]
    reference: Model | None  # None: no loss was measured
    tier: Tier
    chat_template: str | None = None  # its name, if it took the place of the models' own

    def as_json(self) -> dict[str, Any]:
        """The object of `hakaru test A B --json`."""
        return {
            "schema": "hakaru.comparison/1",
            "reference": str(self.reference.path) if self.reference else None,
            "tier": self.tier.name if self.reference else None,
            "models": [model.as_json() for model in self.measured],
            "pairs": [_pair_as_json(a, b) for a, b in combinations(self.measured, 2)],
            "chat_template": self.chat_template,
        }


def _pair_as_json(a: Measured, b: Measured) -> dict[str, Any]:
    """An entry of `pairs`."""
    entry: dict[str, Any] = {
        "first": str(a.model.path), "second": str(b.model.path), "kld_ratio": None,
        "less_loss": None, "speed": None, "tasks": None,
    }  # fmt: skip
    if a.rows and b.rows:
        ratio, entry["less_loss"] = kld_ratio(a, b)
        entry["kld_ratio"] = ratio.as_json() if ratio else None
    if a.trial and b.trial:
        rates = {rate: rate_ratio(*both) for rate, both in rates_of(a.trial, b.trial).items()}
        entry["speed"] = {
            rate: {"ratio": ratio.as_json(), "faster": faster}
            for rate, (ratio, faster) in rates.items()
        }
        entry["speed"]["contended"] = a.trial.speed.is_contended or b.trial.speed.is_contended
    if a.graded:
        entry["tasks"] = pair(a.graded, b.graded).as_json()
    return entry


def kld_ratio(a: Measured, b: Measured) -> tuple[Figure | None, str]:
    """The KLD of `a` over the KLD of `b` on the same windows, None where a model loses nothing; and
    which model loses less: `first`, `second` or `cannot tell`.
    """
    first, second = ([row["kld"] for row in model.rows] for model in (a, b))
    if min(sum(first), sum(second)) <= 0:
        return None, _which(sum(first) < sum(second), sum(second) < sum(first))
    ratio, is_below_one = paired_ratio(first, second)
    return ratio, _which(is_below_one, ratio.lowest > 1)


def _which(is_first: bool, is_second: bool) -> str:
    return "first" if is_first else "second" if is_second else "cannot tell"


def rate_ratio(a: Figure, b: Figure) -> tuple[Figure, str]:
    """The rate `a` over the rate `b`, and which rate is higher: `first`, `second` or `cannot tell`.

    The interval of the ratio goes from the lowest `a` over the highest `b` to the highest `a` over
    the lowest `b`.
    """
    low, high = a.lowest / b.highest, a.highest / b.lowest
    ratio = Figure(value=a.value / b.value, unit="ratio", source="measured", low=low, high=high)
    return ratio, _which(low > 1, high < 1)


def rates_of(a: Trial, b: Trial) -> dict[str, tuple[Figure, Figure]]:
    """The rates of two models that are compared, by the name that JSON gives them."""
    names = {"decode": "decode_tokens_per_s", "prefill": "prefill_tokens_per_s"}
    return {rate: (getattr(a.speed, name), getattr(b.speed, name)) for rate, name in names.items()}
