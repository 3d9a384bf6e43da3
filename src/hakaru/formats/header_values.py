"""Metadata values of a GGUF header: numbers, strings and arrays of them.

An array that is too long to keep (a vocabulary) is walked and hashed.
"""

import hashlib
import struct
from typing import Final, TypeAlias

from msgspec import Struct

from hakaru.formats.header_cursor import MAX_HEADER, Cursor

KEPT_ARRAY: Final = 4096  # longer arrays (vocabularies) are walked and hashed, not kept

_SCALARS: Final = {
    0: "B",
    1: "b",
    2: "H",
    3: "h",
    4: "I",
    5: "i",
    6: "f",
    7: "?",
    10: "Q",
    11: "q",
    12: "d",
}
_STRING, _ARRAY = 8, 9


class Array(Struct, frozen=True, kw_only=True):
    """A metadata array. `values` is None where the array is too long to keep; its digest identifies
    it all the same.
    """

    length: int
    digest: str
    values: tuple[int | float | bool | str, ...] | None
    longest: int = 0  # bytes of the longest string in it


Value: TypeAlias = int | float | bool | str | Array


def value_at(cursor: Cursor, kind: int) -> Value:
    """The next value, of metadata type `kind`."""
    return _array(cursor) if kind == _ARRAY else _scalar(cursor, kind)


def _scalar(cursor: Cursor, kind: int) -> int | float | bool | str:
    if kind == _STRING:
        return cursor.string()
    if kind not in _SCALARS:
        raise cursor.damaged("metadata type {kind} is not defined", kind=kind)
    code = _SCALARS[kind]
    value: int | float | bool = struct.unpack("<" + code, cursor.take(struct.calcsize(code)))[0]
    return value


def _array(cursor: Cursor) -> Array:
    kind, length = cursor.number("I"), cursor.number("Q")
    if kind == _STRING:
        return _strings(cursor, length)
    if kind not in _SCALARS:
        raise cursor.damaged("an array of metadata type {kind} is not defined", kind=kind)
    if length > MAX_HEADER:
        raise cursor.damaged(
            "{n} {what}, expected at most {limit}",
            n=length,
            what="array elements",
            limit=MAX_HEADER,
        )
    digest, values = hashlib.sha256(), list[int | float | bool]()
    code, keep = _SCALARS[kind], length <= KEPT_ARRAY
    width = struct.calcsize(code)
    cursor.within(length * width)
    for done in range(0, length, KEPT_ARRAY):
        n = min(KEPT_ARRAY, length - done)
        raw = cursor.take(n * width)
        digest.update(raw)
        if keep:
            values.extend(struct.unpack(f"<{n}{code}", raw))
    return Array(length=length, digest=digest.hexdigest(), values=tuple(values) if keep else None)


def _strings(cursor: Cursor, length: int) -> Array:
    keep = length <= KEPT_ARRAY
    walked = cursor.strings(length, keep=keep)
    return Array(
        length=length,
        digest=walked.digest,
        values=tuple(walked.texts) if keep else None,
        longest=walked.longest,
    )
