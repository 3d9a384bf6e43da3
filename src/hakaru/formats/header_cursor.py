"""Reading forward through a GGUF header: numbers and strings, none of them believed.

Nothing is allocated from a number that the header names, and strings are counted, so that memory
and time stay bounded. `header_values` reads metadata with it, and `gguf` knows in which order
everything stands.
"""

import hashlib
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Final

from msgspec import Struct

from hakaru.errors import ModelDamaged
from hakaru.language import translate

MAX_STRING: Final = 2**20
MAX_HEADER: Final = 2**27
MAX_STRINGS: Final = (
    2**21
)  # over the whole header; the largest vocabularies with their merges have less than one million

U32: Final = 4


class Walked(Struct, frozen=True, kw_only=True):
    """Strings that were read one after the other."""

    digest: str  # of their lengths and bytes
    texts: list[str]  # empty where they were not kept
    longest: int  # bytes


class Cursor:
    """Reads forward through the header and refuses to leave it."""

    def __init__(self, *, path: Path | str, size: int, read: Callable[[int], bytes]) -> None:
        self.path, self.size, self._read = path, size, read
        self.position = 0
        self._buffer = b""
        self._start = 0
        self._strings = 0

    def take(self, n: int) -> bytes:
        """The next `n` bytes."""
        if self.position + n > self._start + len(self._buffer):
            self._refill(n)
        begin = self.position - self._start
        self.position += n
        return self._buffer[begin : begin + n]

    def number(self, code: str) -> int:
        """The next little-endian integer of struct code `code`."""
        return int(struct.unpack("<" + code, self.take(struct.calcsize(code)))[0])

    def bounded(self, code: str, limit: int, what: str) -> int:
        """`number`, refused above `limit`."""
        if (n := self.number(code)) > limit:
            raise self.damaged("{n} {what}, expected at most {limit}", n=n, what=what, limit=limit)
        return n

    def string(self) -> str:
        """The next string."""
        self._count_strings(1)
        return self._text(self.take(self.bounded("Q", MAX_STRING, "bytes in a string")))

    def strings(self, length: int, *, keep: bool) -> "Walked":
        """The next `length` strings; their texts are kept only if `keep`.

        A vocabulary has half a million strings, so those that lie whole in the buffer are walked
        without a call each.
        """
        self._count_strings(length)
        digest, values, done, longest = hashlib.sha256(), list[str](), 0, 0
        length_at = struct.Struct("<Q").unpack_from
        while done < length:
            buffer, begin = self._buffer, self.position - self._start
            at, end = begin, len(self._buffer) - 8
            while (
                done < length
                and at <= end
                and (n := length_at(buffer, at)[0]) <= MAX_STRING
                and n <= end - at
            ):
                if keep:
                    values.append(self._text(buffer[at + 8 : at + 8 + n]))
                at += 8 + n
                done += 1
                longest = n if n > longest else longest
            digest.update(buffer[begin:at])
            self.position += at - begin
            if done < length:  # this one reaches behind the buffer, or is too long
                raw = self.take(self.bounded("Q", MAX_STRING, "bytes in a string"))
                digest.update(len(raw).to_bytes(8, "little") + raw)
                longest = max(longest, len(raw))
                values += [self._text(raw)] if keep else []
                done += 1
        return Walked(digest=digest.hexdigest(), texts=values, longest=longest)

    def damaged(self, finding: str, /, **fields: object) -> ModelDamaged:
        """The error for `finding` at this position."""
        return ModelDamaged(
            "{path}: damaged header at byte {position}: {finding}; fetch the file again.",
            path=self.path,
            position=self.position,
            finding=translate(finding, **fields),
        )

    def _text(self, raw: bytes) -> str:
        return raw.decode("utf-8", errors="replace")

    def _count_strings(self, n: int) -> None:
        self._strings += n
        if self._strings > MAX_STRINGS:
            raise self.damaged(
                "{n} {what}, expected at most {limit}",
                n=self._strings,
                what="strings",
                limit=MAX_STRINGS,
            )

    def within(self, n: int) -> None:
        """Refuses the next `n` bytes where the file or a header cannot have them."""
        if self.position + n > self.size:
            raise ModelDamaged(
                "{path}: the header ends at byte {needed} or later, but the file has {size}; "
                "the download is incomplete: fetch it again.",
                path=self.path,
                needed=self.position + n,
                size=self.size,
            )
        if self.position + n > MAX_HEADER:
            raise self.damaged("the header is longer than {limit} bytes", limit=MAX_HEADER)

    def _refill(self, n: int) -> None:
        self.within(n)
        pieces = [self._buffer[self.position - self._start :]]
        held = len(pieces[0])
        while held < n:
            pieces.append(self._read(max(n - held, 2**20)))
            if not pieces[-1]:
                raise self.damaged("the file became shorter while it was read")
            held += len(pieces[-1])
        self._start = self.position
        self._buffer = b"".join(pieces)
