"""Files that were cut into pieces by their bytes, mostly for uploading: recognized by their names,
with the way to join them.

    model.gguf.part1of2  model.gguf-split-a  model.gguf.001  model.ggufaa  model-part-01.gguf

Such a piece is no part of a split model (`split`): only the first piece has a header, and llama.cpp
reads no piece.
"""

import re
import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from msgspec import Struct

from hakaru.errors import ModelNotFound, ModelUnknown
from hakaru.language import listed

MAX_PIECES: Final = 4096
_NUMBER: Final = r"(?P<no>\d{1,4}|[a-z]{1,3})([-._]?of[-._]?(?P<count>\d{1,4}))?"
_MARK: Final = r"(part|split|chunk|piece)[-._]?"
_BEHIND: Final = re.compile(
    rf"(?P<whole>.+\.gguf)[-._]?(?P<mark>{_MARK})?{_NUMBER}", re.IGNORECASE | re.DOTALL
)
_BEFORE: Final = re.compile(
    rf"(?P<stem>.+?)[-._](?P<mark>{_MARK}){_NUMBER}\.gguf", re.IGNORECASE | re.DOTALL
)


class Piece(Struct, frozen=True, kw_only=True):
    """A piece, as its name describes it."""

    name: str
    whole: str  # the name of the whole file
    order: tuple[int, str]  # its place: a number, or the number of letters and the letters
    count: int | None  # of all pieces, if the name says so: 2 in part1of2
    marked: bool  # a word such as "part" says so; a bare model.gguf.001 is one only among others
    certain: bool  # False: the name ends in .gguf, so the file may be a whole one


def piece_of(name: str) -> Piece | None:
    """The piece called `name`, or None if it is no name of a piece."""
    behind = _BEHIND.fullmatch(name)
    match = behind or _BEFORE.fullmatch(name)
    if match is None:
        return None
    no, count = match["no"].lower(), match["count"]
    order = (int(no), "") if no.isdigit() else (len(no), no)
    whole = behind["whole"] if behind else f"{match['stem']}.gguf"
    return Piece(
        name=name,
        whole=whole,
        order=order,
        count=int(count) if count else None,
        marked=bool(match["mark"]),
        certain=bool(behind),
    )


def cut_up(names: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """The pieces among `names`, in order, by the name of their whole file. Names that end in .gguf
    count as whole files.
    """
    by_whole: dict[str, list[Piece]] = {}
    for name in names:
        piece = piece_of(name)
        if piece and piece.certain:
            by_whole.setdefault(piece.whole, []).append(piece)
    return {
        whole: _sorted_names(pieces) for whole, pieces in by_whole.items() if _are_pieces(pieces)
    }


def pieces_beside(path: Path) -> tuple[str, ...]:
    """The names of all pieces of the file that `path` is a piece of, in order; empty if the name of
    `path` is a whole file's.
    """
    piece = piece_of(path.name)
    if piece is None:
        return ()
    kind = (piece.whole, piece.certain, piece.marked)
    candidates = [piece_of(neighbour.name) for neighbour in path.parent.iterdir()]
    pieces = [p for p in candidates if p and (p.whole, p.certain, p.marked) == kind]
    return _sorted_names(pieces) if _are_pieces(pieces) else ()


def joining(where: Path | str, whole: str, pieces: tuple[str, ...]) -> ModelUnknown | ModelNotFound:
    """The error for `pieces` of the file `whole` in the place of a model: it names the missing
    pieces, or the command that joins all.
    """
    missing = _missing(pieces)
    if missing:
        return ModelNotFound(
            "{path}: a file that was cut into pieces, and {missing} is not there; fetch it into "
            "the same folder, then join all in order: {command}",
            path=where,
            missing=listed(missing[:3]),
            command=_command(whole, (*pieces, *missing)),
        )
    if len(pieces) == 1:
        return ModelUnknown(
            "{path}: one piece of a file that was cut into pieces, none of which is a model; "
            "fetch the others and join all in order, such as: cat {name}* > {whole}",
            path=where,
            name=pieces[0][:-1],
            whole=whole,
        )
    return ModelUnknown(
        "{path}: a file that was cut into {n} pieces, none of which is a model; join them in "
        "order: {command}",
        path=where,
        n=len(pieces),
        command=_command(whole, pieces),
    )


def _command(whole: str, pieces: tuple[str, ...]) -> str:
    names = _sorted_names(piece for name in pieces if (piece := piece_of(name)))
    return f"{shlex.join(['cat', *names])} > {shlex.quote(whole)}"


def _sorted_names(pieces: Iterable[Piece]) -> tuple[str, ...]:
    return tuple(piece.name for piece in sorted(pieces, key=lambda piece: piece.order))


def _are_pieces(pieces: list[Piece]) -> bool:
    """True if these names of one whole file are those of pieces: a word such as "part" says so, or
    the names count from the first on, as split(1) names pieces.
    """
    if any(p.marked or p.count for p in pieces):
        return True
    orders = {p.order for p in pieces}
    if orders & {(1, "a"), (2, "aa"), (3, "aaa")}:
        return len(orders) > 1
    numbers = {number for number, letters in orders if not letters}
    return any(number + 1 in numbers for number in numbers)


def _missing(names: tuple[str, ...]) -> list[str]:
    """The names of the pieces that are missing between those of `names`. Of pieces that are
    lettered, only the first missing name.
    """
    pieces = [piece for name in names if (piece := piece_of(name))]
    count = next((piece.count for piece in pieces if piece.count), None)
    orders = {piece.order for piece in pieces}
    if not pieces[0].order[1]:
        first = 0 if (0, "") in orders else 1
        last = count - 1 + first if count else max(number for number, _ in orders)
        return [
            _renamed(pieces[0], str(number))
            for number in range(first, min(last, MAX_PIECES) + 1)
            if (number, "") not in orders
        ]
    letters = [text for _, text in sorted(orders)]
    expected = "a" * len(letters[0])
    for text in letters:
        if text != expected:
            return [_renamed(pieces[0], expected)]
        expected = _following(text)
    return []


def _renamed(piece: Piece, no: str) -> str:
    """The name of a piece with other letters, or with another number as wide as the old one."""
    match = _BEHIND.fullmatch(piece.name) or _BEFORE.fullmatch(piece.name)
    assert match
    begin, end = match.span("no")
    filled = no.zfill(end - begin) if no.isdigit() else no
    return piece.name[:begin] + filled + piece.name[end:]


def _following(letters: str) -> str:
    """The letters that come next: b after a, ba after az."""
    head, last = letters[:-1], letters[-1]
    return head + chr(ord(last) + 1) if last != "z" else (_following(head) if head else "") + "a"
