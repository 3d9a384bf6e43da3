"""Values that every room uses: figures with their source, and the spelling of bytes and parameter counts.

A figure that a person will act on is a `Figure`: it says where it comes from and how sure it is. Bytes are plain integers.
GB is 10^9 bytes and GiB is 2^30 bytes; both are spelled out wherever they are printed, because mixing them is the field's
oldest mistake.
"""

import re
from dataclasses import dataclass
from typing import Literal

from hakaru.errors import Misuse

Source = Literal["measured", "dry_run", "computed", "published", "assumed"]

_BYTE_UNITS = {
    "": 1, "b": 1,
    "k": 2**10, "kib": 2**10, "kb": 10**3,
    "m": 2**20, "mib": 2**20, "mb": 10**6,
    "g": 2**30, "gib": 2**30, "gb": 10**9,
    "t": 2**40, "tib": 2**40, "tb": 10**12,
}  # fmt: skip
_PARAM_UNITS = {"": 1, "k": 10**3, "m": 10**6, "b": 10**9, "t": 10**12}
_QUANTITY = re.compile(r"^\s*([0-9]{1,15}(?:\.[0-9]{1,15})?)\s*([a-zA-Z]*)\s*$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A number that a person acts on: value, unit, where it comes from, and its 95 % interval (None if unknown)."""

    value: float
    unit: str
    source: Source
    low: float | None = None
    high: float | None = None

    def __post_init__(self) -> None:
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError(f"an interval runs from low to high, but {self.low} > {self.high}")

    @property
    def lowest(self) -> float:
        """The low end of the interval, or the value where there is none."""
        return self.value if self.low is None else self.low

    @property
    def highest(self) -> float:
        """The high end of the interval, or the value where there is none."""
        return self.value if self.high is None else self.high

    def as_json(self) -> dict[str, object]:
        """The figure as it stands in every `--json` object."""
        return {"value": self.value, "low": self.low, "high": self.high, "unit": self.unit, "source": self.source}

    @classmethod
    def from_json(cls, data: dict[str, object]) -> "Figure":
        """The inverse of `as_json`, for the ledger and the evidence files."""
        return cls(**data)  # type: ignore[arg-type]  # the ledger holds only what as_json wrote


def parse_bytes(text: str) -> int:
    """Bytes meant by `2GiB`, `4.2GB`, `512M` or `1000`. A bare letter is binary, as llama.cpp and ulimit read it.

    Raises Misuse for anything else.
    """
    n = _parse(text, _BYTE_UNITS)
    if n is None:
        raise Misuse("'{found}' is no size; expected such as 2GiB, 4.2GB or 512MiB.", found=text)
    return n


def parse_params(text: str) -> int:
    """Parameters meant by `70B`, `135M` or `1.5b`: B is 10^9 here, as in a model's name. Raises Misuse otherwise."""
    n = _parse(text, _PARAM_UNITS)
    if n is None:
        raise Misuse("'{found}' is no number of parameters; expected such as 70B, 1.5B or 135M.", found=text)
    return n


def _parse(text: str, units: dict[str, int]) -> int | None:
    match = _QUANTITY.match(text)
    factor = units.get(match[2].lower()) if match else None
    n = round(float(match[1]) * factor) if match and factor else 0
    return n or None


def format_bytes(n: float) -> str:
    """`n` bytes in the largest binary unit that leaves at least 1, such as `98.4 MiB` (never GB)."""
    sign, size = ("-", -n) if n < 0 else ("", n)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{sign}{size:.0f} B" if unit == "B" else f"{sign}{size:.1f} {unit}"
        size /= 1024
    return f"{sign}{size:.1f} TiB"


def format_params(n: int) -> str:
    """A parameter count as people say it: `135M`, `70.6B`."""
    for factor, letter in ((10**12, "T"), (10**9, "B"), (10**6, "M"), (10**3, "K")):
        if n >= factor:
            return f"{n / factor:.3g}{letter}"
    return str(n)


def parse_seconds(text: str) -> float:
    """A duration such as `120s`, `2m` or `1.5h`; a bare number is seconds. Raises Misuse."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smh]?)", text.strip().lower())
    if not found or float(found[1]) <= 0:
        raise Misuse("'{found}' is no duration; expected such as 120s, 2m or 1h.", found=text)
    return float(found[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[found[2]]
