"""Which of the published types to fetch, or to make one here. Pure.

The type with the most bits, of at most eight, that fits with the margin is taken; of as many bits
the one that `fit` proposes first (Q4_K_M before Q4_0). Sixteen bits and more are sources, and only
taken where nothing smaller is published. If none fits, the smallest source that is exact enough is
fetched, and a file that does fit is made from it here.
"""

from collections.abc import Callable, Sequence
from typing import Final, Literal

from msgspec import Struct

from hakaru.language import say
from hakaru.planning.shares import FitVerdict
from hakaru.planning.variations import SMALLER_PRESETS
from hakaru.pulling.offers import Offer, bits_in
from hakaru.units import format_bytes

SOURCES: Final = ("Q8_0", "BF16", "F16", "F32")
"""Types that are exact enough to make a smaller one from, the smallest first."""

Judge = Callable[[Offer], FitVerdict]
"""What `fit` says of an offer on this machine."""


class Taken(Struct, frozen=True, kw_only=True):
    """What is fetched, and why."""

    offer: Offer
    way: Literal["ready", "make"]  # make: it is a source, from which a smaller file is made here
    verdict: FitVerdict  # of the offer as it is
    too_large: Offer | None = None  # the next better one, which does not fit
    n_offers: int = 1  # among which it was chosen

    def sentence(self) -> str:
        """Why this one."""
        known, label = self.offer.bytes, self.offer.label
        size = say("of a size that is not known") if known is None else format_bytes(known)
        if self.way == "make" and self.n_offers == 1:
            return say(
                "{label} ({size}), the only one there, does not fit this machine; a file that fits "
                "is made from it here.",
                label=label,
                size=size,
            )
        if self.way == "make":
            return say(
                "None of the {n} published types fits this machine. {label} ({size}) is fetched, "
                "the smallest that is exact enough to start from, and a file that fits is made "
                "from it here.",
                n=self.n_offers,
                label=label,
                size=size,
            )
        if self.n_offers == 1:
            return say("{label} ({size}), the only one there", label=label, size=size)
        if self.verdict == "does_not_fit":
            return say(
                "{label} ({size}); none of the {n} types there fits this machine",
                label=label,
                size=size,
                n=self.n_offers,
            )
        if self.too_large is None:
            return say(
                "{label} ({size}), the most exact of the {n} there but for sources of 16 bits and "
                "more",
                label=label,
                size=size,
                n=self.n_offers,
            )
        return say(
            "{label} ({size}), the most exact of the {n} there that fits; {larger} does not",
            label=label,
            size=size,
            n=self.n_offers,
            larger=self.too_large.described,
        )


def in_order(offers: Sequence[Offer]) -> list[Offer]:
    """Offers in the order in which they are tried: by their bits; of as many bits first those that
    `fit` proposes, then the larger ones. Sources only where nothing else is there.
    """
    usual = [offer for offer in offers if offer.type not in SOURCES or offer.type == "Q8_0"]
    if not usual:
        return sorted(offers, key=lambda offer: offer.bytes or 0)

    def place(offer: Offer) -> tuple[int, int, int]:
        proposed = offer.type in SMALLER_PRESETS
        rank = SMALLER_PRESETS.index(offer.type or "") if proposed else len(SMALLER_PRESETS)
        return -(bits_in(offer.type or "") or 0), rank, -(offer.bytes or 0)

    return sorted(usual, key=place)


def take(offers: Sequence[Offer], judge: Judge) -> Taken:
    """The offer to fetch. The best is judged first; what is larger than one that did not fit is not
    judged.

    Example: Q8_0 and Q4_K_M are published, and only Q4_K_M fits -> Q4_K_M, ready. Neither fits ->
    Q8_0, to make a smaller file from.
    """
    too_large: list[Offer] = []
    tight: Offer | None = None
    for offer in in_order(offers):
        if too_large and (offer.bytes or 0) >= min(other.bytes or 0 for other in too_large):
            continue
        verdict = judge(offer)
        if verdict == "fits":
            return _ready(offer, verdict, too_large, offers)
        if verdict == "does_not_fit":
            too_large.append(offer)
        else:
            tight = tight or offer
    if tight:
        return _ready(tight, "tight", [o for o in too_large if _larger(o, tight)], offers)
    if source := smallest_source(offers):
        return Taken(offer=source, way="make", verdict="does_not_fit", n_offers=len(offers))
    smallest = min(too_large, key=lambda offer: offer.bytes or 0)
    return _ready(smallest, "does_not_fit", [], offers)


def _larger(offer: Offer, than: Offer) -> bool:
    return (offer.bytes or 0) > (than.bytes or 0)


def _ready(
    offer: Offer, verdict: FitVerdict, too_large: Sequence[Offer], offers: Sequence[Offer]
) -> Taken:
    return Taken(
        offer=offer,
        way="ready",
        verdict=verdict,
        too_large=too_large[-1] if too_large else None,
        n_offers=len(offers),
    )


def smallest_source(offers: Sequence[Offer]) -> Offer | None:
    """The smallest offer from which a smaller file can be made with next to no additional loss."""
    exact = [offer for offer in offers if offer.type in SOURCES]
    return min(exact, key=lambda offer: offer.bytes or 2**60, default=None)
