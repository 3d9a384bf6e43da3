"""The names of many machines in one text, as Slurm writes them: `rack[01-16]` is rack01, rack02 and
so on to rack16. Pure.

Several ranges count like digits: `10.0.[0-1].[1-2]` is 10.0.0.1, 10.0.0.2, 10.0.1.1, 10.0.1.2.
"""

import re
from itertools import product
from math import prod
from typing import Final

RANGE: Final = r"\[[0-9]{1,6}-[0-9]{1,6}\]"
"""A range in a text, as a pattern."""
_ENDS: Final = re.compile(r"\[([0-9]{1,6})-([0-9]{1,6})\]")


def n_names(text: str) -> int:
    """How many names a text stands for; 0 where a range ends before it begins."""
    return prod(max(0, int(last) - int(first) + 1) for first, last in _ENDS.findall(text))


def names_in(text: str) -> list[str]:
    """The names, in their order. With a zero before the first number all are as wide as that."""
    between = re.split(RANGE, text)
    choices = [_numbers(first, last) for first, last in _ENDS.findall(text)]
    return [
        "".join(part + number for part, number in zip(between, (*numbers, ""), strict=True))
        for numbers in product(*choices)
    ]


def _numbers(first: str, last: str) -> list[str]:
    width = len(first) if first.startswith("0") else 1
    return [f"{n:0{width}}" for n in range(int(first), int(last) + 1)]
