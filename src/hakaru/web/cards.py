"""Cards: one figure or fact of the page, with what it means."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """One figure or fact."""

    label: str
    value: str
    note: str
    kind: str = ""  # "good" or "bad", for the colour of the sign that the value begins with
