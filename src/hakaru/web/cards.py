"""Cards: one figure or fact of the page, with what it means."""

from msgspec import Struct


class Card(Struct, frozen=True, kw_only=True):
    """One figure or fact."""

    label: str
    value: str
    note: str
    kind: str = ""  # "good" or "bad", for the colour of the sign that the value begins with
