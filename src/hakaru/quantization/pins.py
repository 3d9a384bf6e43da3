"""Pins: tensors whose type the person decides, as `REGEX=TYPE`.

A pattern is searched in the tensor's name and the first pin that matches counts, as with
llama.cpp's `--tensor-type`.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Final

from hakaru.errors import Misuse
from hakaru.formats.quant_types import BY_NAME
from hakaru.language import listed
from hakaru.quantization.hull import Item

LONGEST: Final = 200


def parse_pin(text: str) -> tuple[str, str]:
    """The pattern and the type's name in `REGEX=TYPE`; the last equals sign parts them. Raises
    Misuse.
    """
    pattern, _, type_ = text.rpartition("=")
    if (
        not pattern
        or type_.upper() not in BY_NAME
        or len(pattern) > LONGEST
        or _compiled(pattern) is None
    ):
        raise Misuse("`pin` is '{found}', expected REGEX=TYPE such as 'ffn_down=Q6_K'.", found=text)
    return pattern, type_.upper()


def pinned(items: Iterable[Item], pins: Sequence[tuple[str, str]]) -> dict[str, str]:
    """The pinned type of every tensor that a pin matches.

    Raises Misuse for a pin that matches no tensor, or one whose type a matching tensor cannot have.
    """
    chosen: dict[str, str] = {}
    unused = dict(pins)
    for item in items:
        for pattern, type_ in pins:
            if not re.search(pattern, item.name):
                continue
            unused.pop(pattern, None)
            if item.name not in chosen:
                if type_ not in {c.type for c in item.choices}:
                    known = listed(c.type for c in item.choices)
                    raise Misuse(
                        "`pin` {pattern}={type}: {name} cannot be {type}; its types are {known}.",
                        pattern=pattern,
                        type=type_,
                        name=item.name,
                        known=known,
                    )
                chosen[item.name] = type_
    if unused:
        pattern, type_ = next(iter(unused.items()))
        raise Misuse(
            "`pin` {pattern}={type}: matches no tensor that is quantized; `hakaru show` lists "
            "the names.",
            pattern=pattern,
            type=type_,
        )
    return chosen


def _compiled(pattern: str) -> re.Pattern[str] | None:
    try:
        return re.compile(pattern)
    except re.error:
        return None
