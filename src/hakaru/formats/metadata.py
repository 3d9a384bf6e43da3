"""Typed access to a GGUF header's keys: a value of the wrong kind is damage, an absent one is None.

Most keys begin with the architecture's name: `arch_key("block_count")` is `qwen3.block_count`. The
values come from a file (`Header.metadata`, arrays as `Array`) or are written down as plain lists.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

from hakaru.errors import ModelDamaged
from hakaru.formats.header_values import Array, Value
from hakaru.language import say

MetadataValue: TypeAlias = int | float | bool | str | Sequence[int | float | bool | str]
Written: TypeAlias = Value | MetadataValue


class Metadata:
    """The keys of one model. Errors name the file as `where`."""

    def __init__(self, where: Path | str, values: Mapping[str, Written]) -> None:
        self.where, self.values = where, values
        self.architecture = self.text("general.architecture") or ""

    def arch_key(self, key: str) -> str:
        """The key with the architecture's name before it."""
        return f"{self.architecture}.{key}"

    def text(self, key: str) -> str | None:
        """A string, or None."""
        value = self.values.get(key)
        return value if isinstance(value, str) else None

    def integer(self, key: str) -> int | None:
        """A whole number from 0 to 2^31, or None. Raises ModelDamaged."""
        value = self.values.get(key)
        if value is None:
            return None
        if type(value) is not int or not 0 <= value < 2**31:
            raise self.wrong(key, value, say("a whole number"))
        return value

    def integer_if_any(self, key: str) -> int | None:
        """As `integer`, but an impossible value such as -1 is None, too: for keys that llama.cpp
        does not read in this architecture.
        """
        value = self.values.get(key)
        return value if type(value) is int and 0 <= value < 2**31 else None

    def need(self, key: str, high: int) -> int:
        """A whole number from 1 to `high`. Raises ModelDamaged."""
        value = self.integer(key)
        if not value or value > high:
            raise self.wrong(
                key,
                value,
                say("a whole number above 0") if not value else say("at most {n:,}", n=high),
            )
        return value

    def length(self, key: str) -> int | None:
        """The number of entries of an array, or None."""
        value = self.values.get(key)
        if isinstance(value, Array):
            return value.length
        return len(value) if isinstance(value, list | tuple) else None

    def per_layer(self, key: str, n_layer: int) -> tuple[int, ...]:
        """The value of `key` for each layer, whole numbers or flags; empty if the key is absent.
        Raises ModelDamaged.
        """
        value = self.values.get(key)
        if value is None:
            return ()
        values = value.values if isinstance(value, Array) else value
        if isinstance(value, Array | list | tuple):
            if (
                not isinstance(values, list | tuple)
                or len(values) < n_layer
                or not all(isinstance(number, int) and number >= 0 for number in values)
            ):
                raise self.wrong(key, value, say("{n} whole numbers", n=n_layer))
            return tuple(int(number) for number in values[:n_layer])
        number = int(value) if isinstance(value, bool) else self.integer(key) or 0
        return (number,) * n_layer

    def wrong(self, key: str, found: Written | None, expected: str) -> ModelDamaged:
        """The error for a key whose value makes no sense, or that is missing."""
        if found is None:
            return ModelDamaged(
                "{path}: lacks the metadata key {key}, expected {expected}; fetch the file again.",
                path=self.where,
                key=key,
                expected=expected,
            )
        if not isinstance(found, int | float | str):
            found = say("an array of {n}", n=self.length(key))
        return ModelDamaged(
            "{path}: the metadata key {key} is {found}, expected {expected}; fetch the file again.",
            path=self.where,
            key=key,
            found=found,
            expected=expected,
        )
