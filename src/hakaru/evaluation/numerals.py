"""Numbers in an answer, as people and models write them.

Thousands may be parted by commas or by single spaces, digits may be full width, `1e5` is one
number, and 千, 万, 億 and 兆 multiply (3万5千 is 35,000). A minus sign belongs to the number unless
the sign stands right behind a Latin letter, a digit or a bracket: `total-42` is 42. A comma never
begins the decimals.

Which of them is the answer: the number right behind the last `answer is`, `answer:`, `答え` or
`\\boxed{`; else the one behind the last `=` of the last sentence that holds a number; else the last
number.
"""

import re
from typing import Final

_FULL_WIDTH: Final = str.maketrans("０１２３４５６７８９．－，：＝−", "0123456789.-,:=-")
_EXPONENT: Final = r"(?:[eE][-+]?\d+(?![A-Za-z\d]))?"
_SPACED: Final = r"(?<![\d.,])\d{1,3}(?:[ \u00a0\u2009\u202f]\d{3})+(?![\d,])"
_PLAIN: Final = rf"(?:{_SPACED}|\d[\d,]*)(?:\.\d+)?{_EXPONENT}|\.\d+{_EXPONENT}"
_UNITS: Final = {"千": 1e3, "万": 1e4, "億": 1e8, "兆": 1e12}
_NUMBER: Final = re.compile(
    rf"(?:(?<![A-Za-zÀ-ɏ0-9)\]])[-+])?(?:{_PLAIN})"
    r"(?:(?: ?[千万億兆])+(?:\d[\d,]*(?:\.\d+)?[千万億兆]*)*)?"
)
_PART: Final = re.compile(rf"({_PLAIN}) ?([千万億兆]*)")
_TOLD: Final = re.compile(
    r"(?:\banswer\W{0,4}(?:is|:|=)|答え(?:は|が|:|=)?|\\boxed *\{)[^\w+.-]*", re.IGNORECASE
)
_EQUALS: Final = re.compile(r"=[^\w+.-]*")
_SENTENCE_END: Final = re.compile(r"(?<=[.!?])\s+|(?<=。)|\n+")


def numbers(answer: str) -> list[float]:
    """The numbers in an answer, in order."""
    return [_value(found.group()) for found in _NUMBER.finditer(answer.translate(_FULL_WIDTH))]


def final_number(answer: str) -> float | None:
    """The number that an answer comes to (see above); None where it holds none."""
    text = answer.translate(_FULL_WIDTH)
    found = list(_NUMBER.finditer(text))
    if not found:
        return None
    last = max(
        (end.end() for end in _SENTENCE_END.finditer(text) if end.end() <= found[-1].start()),
        default=0,
    )
    told = _behind(found, [mark.end() for mark in _TOLD.finditer(text)])
    equal = _behind(found, [mark.end() for mark in _EQUALS.finditer(text, last)])
    return _value((told or equal or found)[-1].group())


def _behind(found: list[re.Match[str]], marks: list[int]) -> list[re.Match[str]]:
    return [number for number in found if number.start() in marks]


def _value(text: str) -> float:
    """Its parts' sum: 1億2000万 is 100,000,000 and 20,000,000."""
    sign = -1.0 if text[0] == "-" else 1.0
    total = 0.0
    for digits, units in _PART.findall(text.lstrip("+-")):
        part = float(re.sub(r"[^\d.eE+-]", "", digits))
        for unit in units:
            part *= _UNITS[unit]
        total += part
    return sign * total
