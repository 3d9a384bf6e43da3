"""Tiers of quality: how much of the reference a person is willing to lose.

A tier passes when the *upper* end of the KLD interval stays below its bound and the *worse* ends of the other two do
too; it fails when the better ends miss; in between the answer is "inconclusive".
"""

from dataclasses import dataclass
from typing import Any, Final, Literal

from hakaru.errors import Misuse
from hakaru.units import Figure

Verdict = Literal["pass", "fail", "inconclusive"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tier:
    """Bounds of one tier: mean KLD in nats per token, top-1 agreement, perplexity ratio (None: not asked)."""

    name: str
    kld_mean: float
    top1_agreement: float
    perplexity_ratio: float | None


TIERS: Final = {
    tier.name: tier
    for tier in (
        Tier(name="transparent", kld_mean=0.002, top1_agreement=0.975, perplexity_ratio=1.002),
        Tier(name="near-lossless", kld_mean=0.010, top1_agreement=0.95, perplexity_ratio=1.01),
        Tier(name="balanced", kld_mean=0.030, top1_agreement=0.92, perplexity_ratio=1.03),
        Tier(name="compact", kld_mean=0.10, top1_agreement=0.86, perplexity_ratio=1.10),
        Tier(name="extreme", kld_mean=0.30, top1_agreement=0.75, perplexity_ratio=None),
    )
}
DEFAULT_TIER: Final = "balanced"


def tier_named(name: str) -> Tier:
    """The tier called `name`. Raises Misuse."""
    if name not in TIERS:
        raise Misuse("--quality is '{found}', expected one of {known}.", found=name, known=", ".join(TIERS))
    return TIERS[name]


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """What was lost against the reference, each with its 95 % interval, and the same mean KLD per domain of text."""

    kld_mean: Figure
    top1_agreement: Figure
    perplexity_ratio: Figure
    domains: dict[str, Figure]
    n_windows: int
    n_tokens: int
    kld_p99: Figure | None = None

    def verdict(self, tier: Tier) -> Verdict:
        """Whether the tier's bounds hold, with the intervals; a domain whose whole interval lies above the KLD bound
        fails too.
        """
        if self.broken_bound(tier):
            return "fail"
        proven = self.kld_mean.highest <= tier.kld_mean and self.top1_agreement.lowest >= tier.top1_agreement
        if tier.perplexity_ratio is not None:
            proven = proven and self.perplexity_ratio.highest <= tier.perplexity_ratio
        return "pass" if proven else "inconclusive"

    def broken_bound(self, tier: Tier) -> tuple[str, float, float] | None:
        """The first bound that is broken even by the better end of its interval: the figure's name, its value and the
        bound.
        """
        if self.kld_mean.lowest > tier.kld_mean:
            return "kld_mean", self.kld_mean.value, tier.kld_mean
        if self.top1_agreement.highest < tier.top1_agreement:
            return "top1_agreement", self.top1_agreement.value, tier.top1_agreement
        if tier.perplexity_ratio is not None and self.perplexity_ratio.lowest > tier.perplexity_ratio:
            return "perplexity_ratio", self.perplexity_ratio.value, tier.perplexity_ratio
        return self.broken_domain(tier)

    def broken_domain(self, tier: Tier) -> tuple[str, float, float] | None:
        """The same for the domain of text that loses most, if its whole interval lies above the bound of KLD."""
        worst = max(self.domains, key=lambda name: self.domains[name].lowest, default=None)
        if worst and self.domains[worst].lowest > tier.kld_mean:
            return f"kld_mean, {worst}", self.domains[worst].value, tier.kld_mean
        return None

    def best_tier(self) -> str | None:
        """The strictest tier that passes, or None."""
        return next((name for name, tier in TIERS.items() if self.verdict(tier) == "pass"), None)

    def as_json(self) -> dict[str, object]:
        """The `quality` object of `hakaru test --json`."""
        return {
            "kld_mean": self.kld_mean.as_json(),
            "kld_p99": self.kld_p99.as_json() if self.kld_p99 else None,
            "top1_agreement": self.top1_agreement.as_json(),
            "perplexity_ratio": self.perplexity_ratio.as_json(),
            "domains": {name: figure.as_json() for name, figure in self.domains.items()},
            "n_windows": self.n_windows,
            "n_tokens": self.n_tokens,
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Quality":
        """The inverse of `as_json`."""
        figures = {key: Figure.from_json(data[key]) for key in ("kld_mean", "top1_agreement", "perplexity_ratio")}
        domains = {name: Figure.from_json(figure) for name, figure in data["domains"].items()}
        tail = Figure.from_json(data["kld_p99"]) if data["kld_p99"] else None
        return cls(**figures, kld_p99=tail, domains=domains, n_windows=data["n_windows"], n_tokens=data["n_tokens"])
