"""Typed access to a Hugging Face config.json: a value of the wrong kind is damage, an absent one is
None.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from hakaru.errors import ModelDamaged
from hakaru.language import say

TEXT_PARTS: Final = ("text_config", "llm_config", "language_config")
"""Fields of config.json that hold the language model's fields, for models with eyes or ears."""


class ConfigValues:
    """The fields of one config.json; those of the language model's part come first. `absent` has
    the values of fields that the file leaves out. Errors name the file as `where`.
    """

    def __init__(
        self, where: Path | str, values: Mapping[str, Any], absent: Mapping[str, Any] | None = None
    ) -> None:
        inner: Mapping[str, Any] = next(
            (values[part] for part in TEXT_PARTS if isinstance(values.get(part), dict)), {}
        )
        self.where, self._values = where, {**(absent or {}), **values, **inner}

    def number(self, *keys: str) -> int | None:
        """The first of the fields `keys` that the file has, a whole number from 0 to 2^31, or None.
        Raises ModelDamaged.
        """
        for key in keys:
            value = self._values.get(key)
            if value is None:
                continue
            # some files write 1e6 for 1000000
            whole = int(value) if isinstance(value, float) and value.is_integer() else value
            if type(whole) is not int or not 0 <= whole < 2**31:
                raise self._wrong(key, value, say("a whole number"))
            return whole
        return None

    def number_if_any(self, *keys: str) -> int | None:
        """As `number`, but an impossible value counts as absent, as in `"sliding_window": -1`."""
        for key in keys:
            value = self._values.get(key)
            if (
                isinstance(value, int | float)
                and not isinstance(value, bool)
                and 0 < value < 2**31
                and value == int(value)
            ):
                return int(value)
        return None

    def need(self, *keys: str, high: int = 2**31) -> int:
        """A whole number from 1 to `high`. Raises ModelDamaged."""
        value = self.number(*keys)
        if not value or value > high:
            expected = say("a whole number above 0") if not value else say("at most {n:,}", n=high)
            raise self._wrong(keys[0], value, expected)
        return value

    def real(self, key: str) -> float | None:
        """A number above 0, or None. Raises ModelDamaged."""
        value = self._values.get(key)
        if value is None:
            return None
        if type(value) not in {int, float} or not 0 < value < 2**31:
            raise self._wrong(key, value, say("a number above 0"))
        return float(value)

    def flag(self, key: str) -> bool | None:
        """True or false, or None. Raises ModelDamaged."""
        value = self._values.get(key)
        if value is not None and not isinstance(value, bool):
            raise self._wrong(key, value, say("true or false"))
        return value

    def text(self, key: str) -> str | None:
        """A string, or None. Raises ModelDamaged."""
        value = self._values.get(key)
        if value is not None and not isinstance(value, str):
            raise self._wrong(key, value, say("a text"))
        return value

    def part(self, key: str) -> "ConfigValues":
        """The fields of an object; an absent one has none. Raises ModelDamaged."""
        value = self._values.get(key) or {}
        if not isinstance(value, dict):
            raise self._wrong(key, value, say("an object"))
        return ConfigValues(self.where, value)

    def texts(self, key: str, n: int, *, up_to: int = 0) -> tuple[str, ...] | None:
        """The first `n` strings of an array, of a longer array `up_to` strings, or None. Raises
        ModelDamaged for fewer than `n`.
        """
        value = self._values.get(key)
        if value is None:
            return None
        texts = value if isinstance(value, list) else []
        if len(texts) < n or not all(isinstance(text, str) for text in texts):
            raise self._wrong(key, value, say("{n} texts", n=n))
        return tuple(texts[: max(n, up_to)])

    def rope_type(self) -> str | None:
        """How the positions are scaled (`llama3`, `yarn`, `longrope`), or None."""
        for key in ("rope_scaling", "rope_parameters"):
            value = self._values.get(key)
            if isinstance(value, dict):
                kind = value.get("rope_type", value.get("type"))
                return kind if isinstance(kind, str) else None
        return None

    def _wrong(self, key: str, found: object, expected: str) -> ModelDamaged:
        if found is None:
            return ModelDamaged(
                "{path}: lacks the field {key}, expected {expected}; fetch the file again.",
                path=self.where,
                key=key,
                expected=expected,
            )
        return ModelDamaged(
            "{path}: the field {key} is {found}, expected {expected}; fetch the file again.",
            path=self.where,
            key=key,
            found=json.dumps(found, ensure_ascii=False)[:80],
            expected=expected,
        )
