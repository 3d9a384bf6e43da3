"""The files of weights that a repository offers, by their types as their names tell them."""

import re
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Final

from msgspec import Struct

from hakaru.errors import ModelNotFound
from hakaru.formats.split import whole_name
from hakaru.language import say
from hakaru.models.presets import BASE_TYPES
from hakaru.models.sources.choice import Choice, choices, matching
from hakaru.models.sources.hub_listing import Listing
from hakaru.units import format_bytes

_TYPE: Final = re.compile(
    r"(?<![^\W_])((?:UD-)?(?:I?Q\d+(?:_[A-Z0-9]+)*|BF16|F16|F32|MXFP4(?:_MOE)?))(?![^\W_])",
    re.IGNORECASE,
)
_NEAREST: Final = 5


class Offer(Struct, frozen=True, kw_only=True):
    """One model among the files of a repository."""

    choice: Choice
    type: str | None  # as its name says, such as Q4_K_M or UD-Q4_K_XL; None: the name says nothing

    @property
    def preset(self) -> str | None:
        """The preset of that name; None for a type that is somebody's own."""
        return self.type if self.type in BASE_TYPES else None

    @property
    def bytes(self) -> int | None:
        """What has to be fetched of it; None: not known."""
        return self.choice.bytes

    @property
    def label(self) -> str:
        """The type, or the file where its name tells none."""
        return self.type or self.choice.name

    @property
    def described(self) -> str:
        """The label and the size."""
        return self.label + (f" ({format_bytes(self.bytes)})" if self.bytes else "")


def offers_of(listing: Listing) -> tuple[Offer, ...]:
    """Every model in the repository, the largest first."""
    offers = [Offer(choice=c, type=type_in(c.name)) for c in choices(listing.files)]
    return tuple(sorted(offers, key=lambda offer: (-(offer.bytes or 0), offer.choice.name)))


def type_in(path: str) -> str | None:
    """The type that the name of a file states: its last word that can be one, in capitals."""
    stem = whole_name(path.rpartition("/")[2]).removesuffix(".gguf")
    words = _TYPE.findall(stem)
    return words[-1].upper() if words else None


def offers_named(where: str, offers: Sequence[Offer], wanted: str) -> list[Offer]:
    """The offers that `wanted` names: a type, a file or a path. Raises ModelNotFound, with the
    nearest types that are there.
    """
    meant = matching(tuple(offer.choice for offer in offers), wanted)
    if found := [offer for offer in offers if offer.choice in meant]:
        return found
    if not offers:
        return []
    raise ModelNotFound(
        "{where}: nothing there is named '{wanted}'; the nearest are {listed}.",
        where=where,
        wanted=wanted,
        listed=say(", ").join(offer.described for offer in nearest(offers, wanted)),
    )


def nearest(offers: Sequence[Offer], wanted: str) -> list[Offer]:
    """The offers that are most like what was asked for, first by their bits, then by their
    letters.
    """
    bits = bits_in(wanted)
    close = get_close_matches(wanted.upper(), [o.label.upper() for o in offers], n=9, cutoff=0)

    def distance(offer: Offer) -> tuple[float, int]:
        own = bits_in(offer.label)
        far = abs(own - bits) if own is not None and bits is not None else 99
        label = offer.label.upper()
        return far, close.index(label) if label in close else 9

    return sorted(offers, key=distance)[:_NEAREST]


def bits_in(type_: str) -> int | None:
    """The number of bits in the name of a type: 4 for Q4_K_M, 16 for BF16."""
    digits = re.search(r"\d+", type_)
    return int(digits[0]) if digits else None
