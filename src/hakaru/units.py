"""Values that every room uses: figures with their source, and the spelling of bytes and parameter
counts.

A figure that a person will act on is a `Figure`: a number with its source and its interval. Bytes
are plain integers. GB is 10^9 bytes and GiB is 2^30 bytes; every printed size has its unit, because
mixing GB and GiB is the field's oldest mistake.
"""

import operator
import re
import unicodedata
from collections.abc import Callable
from typing import Final, Literal

from msgspec import Struct

from hakaru.errors import Misuse
from hakaru.language import say

Source = Literal["measured", "dry_run", "computed", "published", "assumed"]

_BYTE_UNITS = {
    "": 1, "b": 1,
    "k": 2**10, "kib": 2**10, "kb": 10**3,
    "m": 2**20, "mib": 2**20, "mb": 10**6,
    "g": 2**30, "gib": 2**30, "gb": 10**9,
    "t": 2**40, "tib": 2**40, "tb": 10**12,
}  # fmt: skip
_PARAM_UNITS = {
    "": 1, "k": 10**3, "m": 10**6, "b": 10**9, "t": 10**12,
    "万": 10**4, "億": 10**8, "兆": 10**12,
}  # fmt: skip
_QUANTITY = re.compile(r"^\s*([0-9]{1,15}(?:\.[0-9]{1,15})?)\s*([a-zA-Z]*|[万億兆])\s*$")
_EXPERTS = re.compile(r"^(\d{1,3})x(?=\d)", re.IGNORECASE)
_ACTIVE = re.compile(r"[-_ ]a\d+(?:\.\d+)?[mb]$", re.IGNORECASE)
LEAST_BARE_BYTES = 2**20
"""A number without a unit counts as bytes from this size on; a smaller number may mean MiB."""


class Figure(Struct, frozen=True, kw_only=True):
    """A number that a person acts on."""

    value: float
    unit: str
    source: Source  # where the number comes from
    low: float | None = None  # the low end of the 95% interval; None: unknown
    high: float | None = None  # the high end

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
        return {
            "value": self.value,
            "low": self.low,
            "high": self.high,
            "unit": self.unit,
            "source": self.source,
        }

    @classmethod
    def from_json(cls, data: dict[str, object]) -> "Figure":
        """The inverse of `as_json`, for the ledger and the evidence files."""
        return cls(**data)  # type: ignore[arg-type]  # the ledger holds only what as_json wrote


def parse_bytes(text: str) -> int:
    """The number of bytes that a text such as `2GiB`, `4.2GB`, `512M` or `253100000` means. A bare
    letter is binary, as llama.cpp and ulimit read it.

    Raises Misuse for anything else, also for a small number without a unit: `16384` may be MiB or
    bytes.
    """
    n = _parse(text, _BYTE_UNITS)
    if n is None:
        raise Misuse("'{found}' is no size; expected such as 2GiB, 4.2GB or 512MiB.", found=text)
    if n < LEAST_BARE_BYTES and re.fullmatch(r"[\d.]+", _plain(text)):
        raise Misuse(
            "'{found}' has no unit; expected such as 2GiB, 4.2GB or {found}MiB.", found=_plain(text)
        )
    return n


def size_in_bytes(size: str | int) -> int:
    """A size that a person named: a number of bytes, or a text for `parse_bytes`."""
    return parse_bytes(size) if isinstance(size, str) else size


def parse_tokens(text: str) -> int:
    """The number of tokens that a text such as `32768`, `32,768` or `32k` means; k is 1,024, as in
    the names of models (a context of 128k has 131,072 tokens). Raises Misuse.
    """
    from fractions import Fraction  # few commands need it

    named = re.sub(
        r"\s*(?:tokens?|トークン)$", "", _plain(text).replace("_", ""), flags=re.IGNORECASE
    )
    match = re.fullmatch(r"(\d{1,12}(?:\.\d{1,6})?)\s*(k|m)?", named, re.IGNORECASE)
    factor = {"k": 2**10, "m": 2**20}.get((match[2] or "").lower(), 1) if match else 1
    n = Fraction(match[1]) * factor if match else Fraction(0)
    if n < 1 or n.denominator > 1:
        raise Misuse(
            "'{found}' is no number of tokens; expected such as 8192 or 32k, where k is 1,024.",
            found=text,
        )
    return int(n)


def parse_rate(text: str) -> float:
    """A number of tokens per second, such as `20`, `7.5` or `20 tokens/s`. Raises Misuse."""
    match = re.fullmatch(
        r"(\d{1,9}(?:\.\d{1,9})?)\s*(?:(?:t|tok|tokens?|トークン)/(?:s|sec|秒)|tps)?",
        _plain(text).lower(),
    )
    rate = float(match[1]) if match else 0.0
    if not rate:
        raise Misuse(
            "'{found}' is no speed; expected tokens per second, more than 0, such as 20 or 7.5.",
            found=text,
        )
    return rate


def parse_bits(text: str) -> float:
    """A number of bits, such as `4`, `4.5` or `4-bit`. Raises Misuse."""
    match = re.fullmatch(
        r"(\d{1,3}(?:\.\d{1,9})?)[\s-]*(?:bits?|bpw|ビット)?", _plain(text).lower()
    )
    if match is None:
        raise Misuse("'{found}' is no number of bits; expected such as 4 or 4.5.", found=text)
    return float(match[1])


def parse_params(text: str) -> int:
    """The number of parameters that `text` means. B is 10^9 here, as in a model's name.

    Examples: `135M`, `1.5b`; `0.6` is in billions; `30B-A3B` is 30B, all parameters and not the
    active ones. `700億` is 70B. `8x7B` is 56B, which is more than such a model has, since its
    experts share all other layers. Raises Misuse for any other text.
    """
    bare = _ACTIVE.sub("", _plain(text))
    experts, size = _EXPERTS.match(bare), _EXPERTS.sub("", bare)
    if re.fullmatch(r"\d{1,15}(?:\.\d{1,15})?", size):  # billions, or a count that was copied
        number = float(size)
        if 10**4 <= number < 10**6:
            raise Misuse("'{found}' has no unit; expected such as 70B, 1.5B or 135M.", found=text)
        n = round(number * 10**9) if number < 10**4 else round(number)
    else:
        n = _parse(size, _PARAM_UNITS) or 0
    if not n:
        raise Misuse(
            "'{found}' is no number of parameters; expected such as 70B, 1.5B or 135M.", found=text
        )
    return n * (int(experts[1]) if experts else 1)


def names_experts(text: str) -> bool:
    """True for a text such as `8x7B`: number and size of experts, which is no count of
    parameters.
    """
    return bool(_EXPERTS.match(_plain(text)))


def _plain(text: str) -> str:
    """`text` with plain digits and letters, and without commas between thousands."""
    return re.sub(r"(?<=\d),(?=\d{3}\b)", "", unicodedata.normalize("NFKC", text)).strip()


def _parse(text: str, units: dict[str, int]) -> int | None:
    match = _QUANTITY.match(_plain(text))
    factor = units.get(match[2].lower()) if match else None
    n = round(float(match[1]) * factor) if match and factor else 0
    return n or None


BYTE_SCALES: Final = {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}


def byte_unit(n: float) -> str:
    """The largest binary unit that leaves at least 1 of `n` bytes."""
    return next((unit for unit, scale in reversed(BYTE_SCALES.items()) if abs(n) >= scale), "B")


def common_unit(*sizes: float) -> str:
    """The unit for sizes that a person compares: that of the smallest which is not 0, or a larger
    one where the largest would have more than five digits.
    """
    there = [abs(n) for n in sizes if n] or [0]
    least, most = min(there), max(there)
    short = (unit for unit, scale in BYTE_SCALES.items() if most < 10**5 * scale)
    return max(byte_unit(least), next(short, "TiB"), key=BYTE_SCALES.__getitem__)


FAR: Final = 20
"""How many times as large a size is that nobody compares it to the digit."""


def unit_beside(n: float, other: float) -> str:
    """The unit of `n` bytes beside `other` bytes: one for both, or each its own where one is far
    more. Example: 900.0 MiB of the 4,812.8 MiB, but 109.5 MiB of the 22.70 GiB.
    """
    least, most = sorted((abs(n), abs(other)))
    return byte_unit(n) if 0 < least <= most / FAR else common_unit(n, other)


def bytes_in(n: float, unit: str, digits: int = 1) -> str:
    """`n` bytes in `unit`, such as `98.4 MiB`."""
    return f"{n / BYTE_SCALES[unit]:,.{0 if unit == 'B' else digits}f} {unit}"


def digits_beside(unit: str) -> int:
    """How many decimals a size has beside others in `unit`: a part of some GiB may be small."""
    return 2 if BYTE_SCALES[unit] >= BYTE_SCALES["GiB"] else 1


def bytes_told(n: float, unit: str) -> str:
    """`n` bytes in the unit of the sizes beside it: `98.4 MiB`, `0.10 GiB`, `<0.1 MiB`, `0 MiB`."""
    digits = digits_beside(unit)
    if n and round(n / BYTE_SCALES[unit], digits) == 0:
        return f"<{10**-digits:.{digits}f} {unit}"
    return bytes_in(n, unit, digits) if n else f"0 {unit}"


def alike(*sizes: float) -> list[str]:
    """Sizes that a sentence compares, in one unit, or each in its own where one is far more."""
    least, most = min(sizes), max(sizes)
    unit = unit_beside(least, most)
    if unit != unit_beside(most, least):
        return [bytes_told(n, byte_unit(n)) for n in sizes]
    return [bytes_told(n, unit) for n in sizes]


def format_bytes(n: float) -> str:
    """`n` bytes in the largest binary unit that leaves at least 1, such as `98.4 MiB` (never
    GB).
    """
    return bytes_in(n, byte_unit(n))


def short_bytes(n: float) -> str:
    """`n` bytes in the fewest signs that still tell 10^9 from 2^30: `98.4Mi`, as `free -h` writes
    it.
    """
    return format_bytes(n).replace(" ", "").removesuffix("B") if n else "0"


def compared(
    needed: int, free: int, test: Callable[[float, float], object] = operator.gt
) -> tuple[str, str]:
    """Two sizes in one unit, with as many decimals as `test` needs to give the same result for the
    rounded numbers as for the bytes. Example: 22.49 GiB of 22.46 GiB, since "22.5 of 22.5" would
    contradict the verdict "too large" beside the numbers.
    """
    unit, verdict = unit_beside(needed, free), test(needed, free)
    if unit != unit_beside(free, needed):
        return bytes_told(needed, unit), bytes_told(free, byte_unit(free))
    for digits in range(digits_beside(unit), 7):
        if test(*(round(n / BYTE_SCALES[unit], digits) for n in (needed, free))) == verdict:
            return bytes_in(needed, unit, digits), bytes_in(free, unit, digits)
    return bytes_in(needed, "B"), bytes_in(free, "B")


def format_params(n: int) -> str:
    """A parameter count as people say it: `135M`, `70.6B`."""
    for factor, letter in ((10**12, "T"), (10**9, "B"), (10**6, "M"), (10**3, "K")):
        if n >= 0.9995 * factor:  # 999,885,952 is 1B, not 1e+03M
            return f"{n / factor:.3g}{letter}"
    return str(n)


def parse_seconds(text: str, *, least: float = 1e-9) -> float:
    """A duration such as `120s`, `2m`, `90 min` or `1.5h`; a bare number is seconds. Raises Misuse
    for others, and for less than `least` seconds.
    """
    match = re.fullmatch(
        r"(\d{1,9}(?:\.\d{1,9})?)\s*(?:(|s|secs?|seconds?|秒)|(m|mins?|minutes?|分)|(h|hrs?|hours?|時間))",
        _plain(text).lower(),
    )
    if not match or float(match[1]) < least:
        raise Misuse("'{found}' is no duration; expected such as 120s, 2m or 1h.", found=text)
    return float(match[1]) * (60 if match[3] else 3600 if match[4] else 1)


def three_digits(number: float) -> str:
    """A speed or a time, with more digits than are known: `5.31`, `152`, `9,660`."""
    digits = float(f"{number:.3g}")
    return f"{digits:,.0f}" if digits >= 100 else f"{digits:g}"


def time_left(least_s: float, most_s: float) -> str:
    """A range in whole minutes, its upper end rounded up. Example: 50 and 200 seconds are `at most
    4 min left`, 70 and 200 seconds `1 to 4 min left`.
    """
    least, most = int(least_s // 60), int(-(-most_s // 60))
    if most <= 1:
        return say("less than a minute left")
    if least == 0:
        return say("at most {most} min left", most=most)
    if most - least <= 1:
        return say("about {most} min left", most=most)
    return say("{least} to {most} min left", least=least, most=most)
