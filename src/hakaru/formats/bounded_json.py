"""JSON from a stranger. Python's objects take many times the text's size, so brackets and commas
are counted first.
"""

import json
from typing import Any, Final

MAX_MARKS: Final = 2**20


def bounded_json(raw: bytes) -> Any:
    """What `raw` says. Raises ValueError for what is no JSON, too deep, too much, or names a key
    twice.
    """
    marks = raw.count(b"[") + raw.count(b"{") + raw.count(b",")
    if marks > MAX_MARKS:
        raise ValueError(f"{marks} brackets and commas")
    try:
        return json.loads(raw, object_pairs_hook=_once)
    except RecursionError as error:
        raise ValueError("nested too deep") from error


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name stands twice")
    return found
