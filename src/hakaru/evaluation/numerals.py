"""Numbers in an answer, as people and models write them.

Thousands may be parted by commas or by single spaces, digits may be full width, `1e5` is one
number, and 千, 万, 億 and 兆 multiply (3万5千 is 35,000). A minus sign belongs to the number unless
the sign stands right behind a Latin letter, a digit or a bracket: `total-42` is 42. A comma never
begins the decimals.

The final number is the one right behind the last `answer is`, `answer:`, `答え` or `\\boxed{`; else
the one behind the last `=` of the last sentence that holds a number; else the last number.
"""

import re
from collections.abc import Iterable
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
_ANSWER_IS: Final = re.compile(
    r"(?:\banswer\W{0,4}(?:is|:|=)|答え(?:は|が|:|=)?|\\boxed *\{)[^\w+.-]*", re.IGNORECASE
)
_EQUALS: Final = re.compile(r"=[^\w+.-]*")
_SENTENCE_END: Final = re.compile(r"(?<=[.!?])\s+|(?<=。)|\n+")


def final_number(answer: str) -> float | None:
    """The number that an answer comes to (see above); None where it holds none."""
    text = answer.translate(_FULL_WIDTH)
    numbers = list(_NUMBER.finditer(text))
    if not numbers:
        return None
    ends = (mark.end() for mark in _SENTENCE_END.finditer(text))
    last_sentence = max((end for end in ends if end <= numbers[-1].start()), default=0)
    named = _behind(_ANSWER_IS.finditer(text), numbers)
    equal = _behind(_EQUALS.finditer(text, last_sentence), numbers)
    return _value((named or equal or numbers)[-1].group())


def _behind(marks: Iterable[re.Match[str]], numbers: list[re.Match[str]]) -> list[re.Match[str]]:
    """The numbers that begin where a mark ends."""
    ends = {mark.end() for mark in marks}
    return [number for number in numbers if number.start() in ends]


def _value(text: str) -> float:
    """The value of a number as it is written: 1億2000万 is 100,000,000 and 20,000,000."""
    sign = -1.0 if text[0] == "-" else 1.0
    total = 0.0
    for digits, units in _PART.findall(text.lstrip("+-")):
        part = float(re.sub(r"[^\d.eE+-]", "", digits))
        for unit in units:
            part *= _UNITS[unit]
        total += part
    return sign * total
