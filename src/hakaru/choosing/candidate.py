"""The candidates of a choice: ways to run a model, and what was measured of every way. Pure."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from msgspec import Struct

from hakaru.evaluation.grading import Pairs
from hakaru.evaluation.judgement import Judgement
from hakaru.evaluation.speed import Speed
from hakaru.evaluation.tasks import TaskSet
from hakaru.evaluation.tiers import Quality, Tier, Verdict
from hakaru.language import say
from hakaru.memory.settings import F16_CACHE, Cache
from hakaru.quantization.build import spoken_name
from hakaru.units import Figure

SOURCE: Final = "source"
"""The type of the candidate that is the source itself."""
Key = tuple[str, Cache]
"""The type of the weights and the KV cache, which tell candidates apart."""


class Constraints(Struct, frozen=True, kw_only=True):
    """What a person asks of the result."""

    tier: Tier
    min_tokens_per_s: float | None  # None: however slow
    memory_bytes: int | None = None  # None: what is free
    tasks: TaskSet | None = None  # the chosen candidate must not be worse at them than the source

    def as_json(self) -> dict[str, object]:
        """The constraints as they stand in the evidence."""
        return {
            "quality": self.tier.name, "min_speed": self.min_tokens_per_s,
            "memory_bytes": self.memory_bytes,
            "tasks": list(self.tasks.names) if self.tasks else [],
            "language": self.tasks.language if self.tasks else None,
        }  # fmt: skip


class Candidate(Struct, frozen=True, kw_only=True):
    """One way to run the model. What was not measured is None."""

    type: str  # of the weights: SOURCE, a preset such as `Q4_K_M`, or a mix such as `mix-1f2e3d4c`
    weights_bytes: int
    bpw: float
    total_bytes: int  # of memory that its server takes
    fits: bool  # `total_bytes` is within the memory that may be used
    cache: Cache = F16_CACHE
    predicted: Figure | None = None  # mean KLD, before the candidate was read
    quality: Quality | None = None  # on the windows to choose by, as far as they were read
    judgement: Judgement | None = None  # what the windows of `quality` prove of the tier
    speed: Speed | None = None
    why_untimed: str | None = None  # why the speed could not be measured
    untouched: Quality | None = None  # of finalists: on texts that played no part in the choice
    tasks: Pairs | None = None  # of finalists: answers beside those of the source
    beaten_by: str | None = None  # type of the candidate that wins, whatever is read later
    passes: bool = False  # measured, and meets every constraint
    why: str = ""  # the reason why it passes, does not pass, or was not measured
    path: Path | None = None  # the file, of the chosen candidate
    sha256: str | None = None  # of the file; None if the file was never built
    types: Mapping[str, str] | None = None  # of a mix: types by tensor name

    @property
    def key(self) -> Key:
        """The type of the weights and the KV cache."""
        return self.type, self.cache

    @property
    def name(self) -> str:
        """The name for people."""
        return name_of(self.key)

    @property
    def n_read(self) -> int:
        """How many windows were read."""
        return self.quality.n_windows if self.quality else 0

    @property
    def verdict(self) -> Verdict | None:
        """What the windows that were read prove of the tier; None before any was read."""
        return self.judgement.verdict if self.judgement else None

    def is_hopeless(self, tier: Tier) -> bool:
        """Whether the candidate was not read, because it is predicted to break `tier`."""
        return (
            self.quality is None
            and self.predicted is not None
            and self.predicted.lowest > tier.kld_mean
        )

    def as_json(self) -> dict[str, object]:
        """The candidate as it stands in `hakaru.decision/1`."""
        return {
            "type": self.type, "path": str(self.path) if self.path else None, "sha256": self.sha256,
            "tensor_types": dict(self.types) if self.types else None, "bytes": self.weights_bytes,
            "bpw": self.bpw, "total_bytes": self.total_bytes, "cache_type_k": self.cache[0],
            "cache_type_v": self.cache[1], "predicted_kld": _json(self.predicted),
            "kld_mean": _json(self.quality.kld_mean if self.quality else None),
            "top1_agreement": _json(self.quality.top1_agreement if self.quality else None),
            "n_windows": self.quality.n_windows if self.quality else None, "verdict": self.verdict,
            "broken": self.judgement.broken if self.judgement else None,
            "suspects": list(self.judgement.suspects) if self.judgement else [],
            "perplexity_ratio": _json(self.quality.perplexity_ratio if self.quality else None),
            "untouched": self.untouched.as_json() if self.untouched else None,
            "tasks": self.tasks.as_json() if self.tasks else None,
            "decode_tokens_per_s": _json(self.speed.decode_tokens_per_s if self.speed else None),
            "prefill_tokens_per_s": _json(self.speed.prefill_tokens_per_s if self.speed else None),
            "first_token_ms": _json(self.speed.first_token_ms if self.speed else None),
            "contended": self.speed.is_contended if self.speed else None,
            "fits": self.fits, "passes": self.passes, "why": self.why,
        }  # fmt: skip


def bare_name(type_: str) -> str:
    """The name of the weights of a candidate for people, without that of the KV cache."""
    return say("source") if type_ == SOURCE else spoken_name(type_)


def name_of(key: Key) -> str:
    """The name of a candidate for people, such as `Q6_K, KV cache q8_0`."""
    type_, cache = key
    name = bare_name(type_)
    if cache == F16_CACHE:
        return name
    return say("{type}, KV cache {cache}", type=name, cache=cache[0])


def _json(figure: Figure | None) -> dict[str, object] | None:
    return figure.as_json() if figure else None
