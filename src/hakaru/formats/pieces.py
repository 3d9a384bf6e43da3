"""Files that were cut into pieces by their bytes, mostly for uploading: recognized by their names,
with the way to join them.

    model.gguf.part1of2  model.gguf-split-a  model.gguf.001  model.ggufaa  model-part-01.gguf

Such a piece is no part of a split model (`split`): only the first has a header, and llama.cpp reads
none of them.
"""

import re
import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hakaru.errors import ModelNotFound, ModelUnknown

MAX_PIECES: Final = 4096
_NUMBER: Final = r"(?P<no>\d{1,4}|[a-z]{1,3})([-._]?of[-._]?(?P<count>\d{1,4}))?"
_MARK: Final = r"(part|split|chunk|piece)[-._]?"
_BEHIND: Final = re.compile(
    rf"(?P<whole>.+\.gguf)[-._]?(?P<mark>{_MARK})?{_NUMBER}", re.IGNORECASE | re.DOTALL
)
_BEFORE: Final = re.compile(
    rf"(?P<stem>.+?)[-._](?P<mark>{_MARK}){_NUMBER}\.gguf", re.IGNORECASE | re.DOTALL
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """What the name of a piece tells: the whole file's name, its place among the pieces, and their
    number where it is stated.

    `marked` is whether a word such as "part" says so; a bare `model.gguf.001` is one only among
    others.
    """

    name: str
    whole: str
    order: tuple[int, str]
    count: int | None
    marked: bool
    certain: bool  # a name that ends in .gguf may be a whole file after all: its content tells


def piece_of(name: str) -> Piece | None:
    """What `name` tells, or None where it is no name of a piece."""
    behind, before = _BEHIND.fullmatch(name), _BEFORE.fullmatch(name)
    found = behind or before
    if found is None:
        return None
    no, count = found["no"].lower(), found["count"]
    order = (int(no), "") if no.isdigit() else (len(no), no)
    whole = behind["whole"] if behind else f"{found['stem']}.gguf"
    return Piece(
        name=name,
        whole=whole,
        order=order,
        count=int(count) if count else None,
        marked=bool(found["mark"]),
        certain=bool(behind),
    )


def cut_up(names: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """The whole files of which pieces lie among `names`, each with its pieces in order. Names
    ending in .gguf are no pieces here.
    """
    found: dict[str, list[Piece]] = {}
    for name in names:
        piece = piece_of(name)
        if piece and piece.certain:
            found.setdefault(piece.whole, []).append(piece)
    return {
        whole: tuple(p.name for p in _sorted(pieces))
        for whole, pieces in found.items()
        if _are_pieces(pieces)
    }


def pieces_beside(path: Path) -> tuple[str, ...]:
    """The names of all pieces of which `path` is one, in order; none if it is a whole file by its
    name.
    """
    piece = piece_of(path.name)
    if piece is None:
        return ()
    others = [piece_of(p.name) for p in path.parent.iterdir()]
    same = [
        p
        for p in others
        if p and (p.whole, p.certain, p.marked) == (piece.whole, piece.certain, piece.marked)
    ]
    return tuple(p.name for p in _sorted(same)) if _are_pieces(same) else ()


def joining(where: Path | str, whole: str, pieces: tuple[str, ...]) -> ModelUnknown | ModelNotFound:
    """The error for pieces of the file `whole` where a model is wanted: the one that is missing, or
    how to join them.
    """
    missing = _missing(pieces)
    if missing:
        return ModelNotFound(
            "{path}: a file that was cut into pieces, and {missing} is not there; fetch it into "
            "the same folder, then join all in "
            "order: {command}",
            path=where,
            missing=", ".join(missing[:3]),
            command=_command(whole, (*pieces, *missing)),
        )
    if len(pieces) == 1:
        return ModelUnknown(
            "{path}: one piece of a file that was cut into pieces, none of which is a model; "
            "fetch the others and join all in order, "
            "such as: cat {name}* > {whole}",
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
    listed = _sorted([p for name in pieces if (p := piece_of(name))])
    return f"{shlex.join(['cat', *(p.name for p in listed)])} > {shlex.quote(whole)}"


def _sorted(pieces: Iterable[Piece]) -> list[Piece]:
    return sorted(pieces, key=lambda p: p.order)


def _are_pieces(pieces: list[Piece]) -> bool:
    """Whether these names of one file are pieces: a word says so, or they count on from the first,
    as split(1) names them.
    """
    if any(p.marked or p.count for p in pieces):
        return True
    orders = {p.order for p in pieces}
    if orders & {(1, "a"), (2, "aa"), (3, "aaa")}:
        return len(orders) > 1
    numbers = {number for number, letters in orders if not letters}
    return any(number + 1 in numbers for number in numbers)


def _missing(names: tuple[str, ...]) -> list[str]:
    """The names of pieces that are not there, as far as the others' names tell; of letters only the
    first one.
    """
    pieces = [p for name in names if (p := piece_of(name))]
    count = next((p.count for p in pieces if p.count), None)
    there = {p.order for p in pieces}
    if not pieces[0].order[1]:
        first = 0 if (0, "") in there else 1
        last = count - 1 + first if count else max(n for n, _ in there)
        return [
            _renumbered(pieces[0], n)
            for n in range(first, min(last, MAX_PIECES) + 1)
            if (n, "") not in there
        ]
    letters = [text for _, text in sorted(there)]
    expected = "a" * len(letters[0])
    for text in letters:
        if text != expected:
            return [_relettered(pieces[0], expected)]
        expected = _following(text)
    return []


def _renumbered(piece: Piece, no: int) -> str:
    """The name of that piece with another number, as wide as the one that it has."""
    match = _BEHIND.fullmatch(piece.name) or _BEFORE.fullmatch(piece.name)
    assert match
    return (
        piece.name[: match.start("no")]
        + str(no).zfill(len(match["no"]))
        + piece.name[match.end("no") :]
    )


def _relettered(piece: Piece, letters: str) -> str:
    match = _BEHIND.fullmatch(piece.name) or _BEFORE.fullmatch(piece.name)
    assert match
    return piece.name[: match.start("no")] + letters + piece.name[match.end("no") :]


def _following(letters: str) -> str:
    """The letters behind these: a -> b, az -> ba."""
    head, last = letters[:-1], letters[-1]
    return head + chr(ord(last) + 1) if last != "z" else (_following(head) if head else "") + "a"
