"""JSON from a stranger. Python's objects take many times the memory of the text, so brackets and
commas are counted before anything is parsed.
"""

import json
from typing import Any, Final

from hakaru.language import say

MAX_MARKS: Final = 2**20


def bounded_json(raw: bytes) -> Any:
    """The value that `raw` spells. Raises ValueError for bytes that are no JSON, nest too deep,
    hold too many values, or name a key twice.
    """
    marks = raw.count(b"[") + raw.count(b"{") + raw.count(b",")
    if marks > MAX_MARKS:
        raise ValueError(say("{n} brackets and commas", n=marks))
    try:
        return json.loads(raw, object_pairs_hook=_without_repeats)
    except RecursionError as error:
        raise ValueError(say("nested too deep")) from error


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    mapping = dict(pairs)
    if len(mapping) < len(pairs):
        raise ValueError(say("a name stands twice"))
    return mapping
