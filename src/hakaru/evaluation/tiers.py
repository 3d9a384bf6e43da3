"""Tiers of quality: how much of the reference a person is willing to lose. What windows of text
prove of a tier, `judgement` says.
"""

from math import sqrt
from typing import Final, Literal

from msgspec import Struct

from hakaru.errors import Misuse
from hakaru.language import listed
from hakaru.units import Figure

Verdict = Literal["pass", "fail", "inconclusive"]


class Tier(Struct, frozen=True, kw_only=True):
    """A tier and its bounds."""

    name: str
    kld_mean: float  # at most, in nats per token
    top1_agreement: float  # at least, as a fraction
    perplexity_ratio: float | None  # at most; None: without a bound

    def bound(self, figure: str) -> float:
        """The bound of `kld_mean`, `top1_agreement` or `perplexity_ratio`. For one kind of text
        (`kld_mean, code`) it is the same.
        """
        return float(getattr(self, figure.partition(",")[0]))

    @property
    def one_word_in(self) -> int:
        """At `kld_mean`, at most one next word in so many comes out differently."""
        return one_word_in(self.kld_mean)


def one_word_in(kld_mean: float) -> int:
    """At a mean KLD of `kld_mean` nats at most one next word in so many comes out differently.
    Example: 0.03 -> 8.

    That is: drawn beside each other as alike as can be, the words of both models differ with the
    probability of their total variation. This is at most sqrt(KLD / 2) at each place (Pinsker), so
    on average over the places at most sqrt(mean KLD / 2), since the root is concave (Jensen).
    """
    return max(1, int(1 / max(sqrt(kld_mean / 2), 1e-9)))


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


def tier_named(name: str) -> Tier:
    """The tier called `name`. Raises Misuse."""
    if name not in TIERS:
        raise Misuse(
            "`tier` is '{found}', expected one of {known}.", found=name, known=listed(TIERS)
        )
    return TIERS[name]


class Quality(Struct, frozen=True, kw_only=True):
    """What was lost against the reference, each figure with its 95% interval."""

    kld_mean: Figure  # nats per token
    top1_agreement: Figure  # fraction of tokens with the same first choice
    perplexity_ratio: Figure  # of the model over the reference
    domains: dict[str, Figure]  # the mean KLD of each kind of text
    n_windows: int  # that were read
    n_tokens: int  # that were compared
    kld_p99: Figure | None = None  # one token in a hundred loses more; None: not measured

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
