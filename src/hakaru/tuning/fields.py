"""The fields of an evidence file: what is missing in it or of another kind is said in one sentence, whoever wrote the file."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from hakaru.errors import Misuse
from hakaru.language import say

MOST: Final = 1e12
"""Tokens per second that nothing reaches."""


class Fields:
    """What an evidence file says, by places such as `settings.n_ctx`. Raises Misuse for what is missing or of another kind."""

    def __init__(self, path: Path, data: Mapping[str, Any]) -> None:
        self.path, self.data = path, data

    def mapping(self, place: str, *, or_none: bool = False) -> dict[str, Any]:
        return dict(self._value(place, lambda v: isinstance(v, dict) or (or_none and v is None), say("an object")) or {})

    def mappings(self, place: str) -> list[dict[str, Any]]:
        return list(self._value(place, lambda v: _all_are(v, dict), say("a list of objects")))

    def text(self, place: str) -> str:
        return str(self._value(place, lambda v: isinstance(v, str), say("a text")))

    def texts(self, place: str) -> list[str]:
        return list(self._value(place, lambda v: _all_are(v, str), say("a list of texts")))

    def flag(self, place: str) -> bool:
        return bool(self._value(place, lambda v: isinstance(v, bool), say("true or false")))

    def whole(self, place: str) -> int:
        return int(self._value(place, lambda v: type(v) is int and v > 0, say("a whole number above 0")))

    def whole_or_none(self, place: str) -> int | None:
        found = self._value(place, lambda v: v is None or (type(v) is int and v > 0), say("a whole number above 0, or null"))
        return None if found is None else int(found)

    def number_or_none(self, place: str) -> float | None:
        def fits(value: Any) -> bool:
            return value is None or (type(value) in {int, float} and 0 < value < MOST)

        found = self._value(place, fits, say("a number above 0, or null"))
        return None if found is None else float(found)

    @contextmanager
    def blamed(self) -> Iterator[None]:
        """What is wrong with a value is said of the file."""
        try:
            yield
        except Misuse as error:
            raise Misuse("{path}: this evidence cannot be walked again: {reason}", path=self.path, reason=error) from error

    def _value(self, place: str, fits: Callable[[Any], bool], expected: str) -> Any:
        *above, last = place.split(".")
        within = self.mapping(".".join(above)) if above else self.data
        if last not in within:
            raise Misuse("{path}: this evidence lacks '{what}'; name a file that `hakaru up` or `hakaru tune` wrote.",
                         path=self.path, what=place)  # fmt: skip
        if not fits(within[last]):
            raise Misuse("{path}: '{what}' is {found}, expected {expected}; name a file that `hakaru up` or `hakaru tune` wrote.",
                         path=self.path, what=place, found=json.dumps(within[last])[:40], expected=expected)  # fmt: skip
        return within[last]


def _all_are(value: Any, kind: type) -> bool:
    return isinstance(value, list) and all(isinstance(each, kind) for each in value)
