"""What a test measured of one model, and the JSON object that tells it."""

from collections.abc import Sequence
from typing import Any, Final

from msgspec import Struct

from hakaru.evaluation.grading import Graded, accuracy, by_domain, never_right, pair
from hakaru.evaluation.losses import Tested
from hakaru.evaluation.speed import LeftOut, Point
from hakaru.evaluation.tiers import Quality, Tier
from hakaru.evaluation.trial import Trial
from hakaru.memory.settings import ContextSettings
from hakaru.models.model import Model
from hakaru.units import Figure

NOT_COMPARED: Final[dict[str, Any]] = {
    "kld_mean": None, "kld_p99": None, "top1_agreement": None, "perplexity_ratio": None,
    "domains": {}, "n_windows": 0, "n_tokens": 0,
}  # fmt: skip
"""The `quality` of a model that was compared with nothing: the keys of `Quality.as_json`, and no
figure.
"""


class Findings(Struct, frozen=True, kw_only=True):
    """What was measured of one model; None or empty where a test leaves it out."""

    model: Model
    settings: ContextSettings
    original: Model | None  # what the model was compared with
    tier: Tier
    tested: Tested | None  # the loss, and what is proven of the tier
    floor: Figure | None  # mean KLD of the reference from itself
    trial: Trial | None  # the speed, and the memory that was really taken
    points: Sequence[Point]  # speeds behind long contexts and for several users
    left_out: Sequence[LeftOut]  # the contexts that were not timed
    graded: Sequence[Graded]  # the model's answers to tasks
    theirs: Sequence[Graded]  # the reference's answers to the same tasks
    chat_template: str | None = None  # its name, if it took the place of the model's own

    @property
    def quality(self) -> Quality | None:
        """What was lost; None where nothing was compared."""
        return self.tested.quality if self.tested else None

    def as_json(self) -> dict[str, Any]:
        """The object of `hakaru test --json`."""
        tested, original = self.tested, self.original
        return {
            "schema": "hakaru.measurement/1",
            "model": str(self.model.path),
            "reference": str(original.path) if original else None,
            "reference_is_quantized": original.is_quantized if original else None,
            "quality": tested.quality.as_json() if tested else NOT_COMPARED,
            "noise_floor": self.floor.as_json() if self.floor else None,
            "speed": self._speed_as_json(),
            "memory": self._memory_as_json(),
            "tier": self.tier.name if tested else None,
            "best_tier": tested.best_tier if tested else None,
            "verdict": tested.judgement.verdict if tested else "inconclusive",
            "broken": tested.judgement.broken if tested else None,
            "suspects": list(tested.judgement.suspects) if tested else [],
            "tokens_evaluated": tested.quality.n_tokens if tested else 0,
            "windows_available": len(tested.domains) if tested else 0,
            "tasks": tasks_as_json(self.graded, self.theirs) if self.graded else None,
            "chat_template": self.chat_template,
        }

    def _speed_as_json(self) -> dict[str, Any] | None:
        if self.trial is None:
            return None
        return self.trial.speed.as_json() | {
            "points": [point.as_json() for point in self.points],
            "depths_left_out": [depth.as_json() for depth in self.left_out],
        }

    def _memory_as_json(self) -> dict[str, Any]:
        if self.trial is None:
            return {}
        return self.trial.memory.as_json() | {"peak_rss_bytes": self.trial.peak_rss_bytes}


def tasks_as_json(graded: Sequence[Graded], reference: Sequence[Graded]) -> dict[str, Any]:
    """The `tasks` object of `hakaru test --json`."""
    return {
        "n": len(graded),
        "unchecked": sum(g.right is None for g in graded),
        "accuracy": _accuracy_as_json(graded),
        "domains": {name: _accuracy_as_json(some) for name, some in by_domain(graded).items()},
        "reference_accuracy": _accuracy_as_json(reference),
        "paired": pair(reference, graded).as_json() if reference else None,
        "never_right": [item.id for item in never_right(graded, reference)],
        "empty": sum(g.is_empty for g in graded),
        "cut": sum(g.is_cut for g in graded),
        "items": [g.as_json() for g in graded],
    }


def _accuracy_as_json(graded: Sequence[Graded]) -> dict[str, object] | None:
    share = accuracy(graded)
    return share.as_json() if share else None
