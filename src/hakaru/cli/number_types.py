"""Types of options whose values are numbers with a unit: how they are typed is told by `units`."""

from collections.abc import Callable
from functools import partial
from typing import Final

import click

from hakaru.errors import Misuse
from hakaru.units import parse_bits, parse_rate, parse_seconds, parse_tokens


class _Quantity(click.ParamType[float]):
    """A number that `parse` reads from a text, or refuses with a sentence. `name` stands for it in
    `--help`.
    """

    def __init__(self, name: str, parse: Callable[[str], float]) -> None:
        self.name, self._parse = name, parse

    def convert(
        self, value: str | float, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        if not isinstance(value, str):  # a default
            return value
        try:
            return self._parse(value)
        except Misuse as refused:
            self.fail(str(refused), param, ctx)


TOKENS: Final = _Quantity("tokens", parse_tokens)
RATE: Final = _Quantity("rate", parse_rate)
BITS: Final = _Quantity("bits", parse_bits)
DURATION: Final = _Quantity("duration", parse_seconds)
DURATION_OR_NONE: Final = _Quantity("duration", partial(parse_seconds, least=0))
