"""What people type and what drivers print of a machine, cut into parts that the catalogue can look
up.

`Dual RTX3090 + 64GB DDR4` becomes two parts: twice the name `RTX3090`, and RAM of 64 GB. A plus
that belongs to a name (`Ryzen AI Max+ 395`) is no border between parts, so the catalogue's names
with a plus are looked for first. Left out: what a name means (see `lookup` and `catalogue`).
"""

import re
from collections.abc import Iterable
from typing import Final, Literal

from msgspec import Struct

from hakaru.hardware.spelling import SIZE, fold
from hakaru.units import parse_bytes

PartKind = Literal["name", "vram", "ram", "size"]

_RAM_WORD: Final = (
    r"(?:(?:system|main|host)\s*memory|(?:lp)?ddr\d\w*(?:-\d+)?|(?<!v)ram"
    r"|(?<!ビデオ)(?<!gpu)メモリー?|主記憶)"
)
_RAM_DETAIL: Final = (
    r"(?:[\s,]*\b(?:ecc|[rul]?dimm|sodimm|cl\d+|\d+\s*(?:mhz|mt/s)|quad[- ]channel"
    r"|dual[- ]channel)\b)*"
)
_RAM: Final = re.compile(
    rf"(?:(?P<count>\d{{1,2}})\s*x\s*)?(?P<before>{SIZE})\s*(?:of\s+|の\s*|ecc\s+)?"
    rf"(?:{_RAM_WORD}\s*)+{_RAM_DETAIL}"
    rf"|(?:メイン|システム)?(?:{_RAM_WORD}\s*)+"
    rf"(?:of\s+|が|は|:)?\s*(?P<behind>{SIZE}){_RAM_DETAIL}",
    re.IGNORECASE,
)
_CARD_WORD: Final = re.compile(
    r"(?<![a-z])(?:vram|video\s*memory|gddr\d\w*|hbm\d\w*|gpus?|(?:graphics\s*)?cards?)(?![a-z])"
    r"|ビデオメモリー?|グラボ",
    re.IGNORECASE,
)
_MEMORY_WORD: Final = re.compile(
    r"(?<![a-z])(?:of|unified|memory)(?![a-z])|メモリー?|の", re.IGNORECASE
)
_COUNT_WORDS: Final = {
    "dual": 2, "twin": 2, "two": 2, "pair of": 2, "triple": 3, "three": 3, "quad": 4, "four": 4,
    "eight": 8,
}  # fmt: skip
_COUNT_FIRST: Final = re.compile(
    rf"^(?:(?:a\s+)?({'|'.join(_COUNT_WORDS)})[\s-]+|(\d{{1,2}})\s*(?:x|\*|[枚台基]の?)\s*"
    rf"|x\s*(\d{{1,2}})\s+)(.+)$",
    re.IGNORECASE,
)
_COUNT_LAST: Final = re.compile(
    r"^(.+?)(?:(?:(?<=[\d\s)])|(?<=gb)|(?<=ti)|(?<=xt)|(?<=\d[a-wyz]))[x*]\s*(\d{1,2})"
    r"|\s(\d{1,2})\s*x|\s*[xを]?\s*(\d{1,2})\s*(?:枚|台|基)(?:挿し|刺し|差し)?)$",
    re.IGNORECASE,
)
_BORDER: Final = re.compile(r"\s*([+&;、]|,(?!\d{3}\b)|\band\b|と)\s*", re.IGNORECASE)
_LISTED: Final = re.compile(r"\[(?!amd/ati\])([^\]]+)\](?:\s*\(rev \w+\))?\s*$", re.IGNORECASE)
_CORES: Final = re.compile(r"\b\d+P\+\d+E(?:\+\d+GPU)?\b", re.IGNORECASE)
"""How LocalScore and others write a chip's cores: `8P+4E+30GPU`."""
_PLUS, _COMMA = "\0", "\1"  # inside a name or brackets, while borders are looked for


class Part(Struct, frozen=True, kw_only=True):
    """One part of a machine's description."""

    kind: PartKind  # an accelerator's name, or a size: of a GPU, of RAM, or of an unsaid memory
    text: str  # the name (which may hold a size), or the size
    count: int = 1  # how many of them, such as 2 in `2x L4`
    border: str = ""  # the sign before this part, such as "+"

    @property
    def n_bytes(self) -> int:
        """The size that the text of a `vram`, `ram` or `size` part names, once."""
        return parse_bytes(self.text)


def parts_of(text: str, names_with_plus: Iterable[str]) -> list[Part]:
    """The parts of a machine's description, in order. `names_with_plus` are names of the catalogue
    that hold a plus, such as `max+ 395`.
    """
    folded = re.sub(r"(?<=\w)\+$", "", _CORES.sub(" ", fold(text)))
    if listed := _LISTED.search(folded):  # a line of lspci: the product stands in the last brackets
        folded = listed[1]
    for name in sorted(map(fold, names_with_plus), key=len, reverse=True):
        folded = re.sub(
            _loosely(name), lambda match: match[0].replace("+", _PLUS), folded, flags=re.IGNORECASE
        )
    folded = re.sub(
        r"\([^)]*\)", lambda match: match[0].replace(",", _COMMA).replace("+", _PLUS), folded
    )
    pieces = _BORDER.split(folded)  # piece, border, piece, border, piece
    parts: list[Part] = []
    for border, piece in zip(["", *pieces[1::2]], pieces[::2], strict=True):
        parts += _parts_of_piece(piece.replace(_COMMA, ",").replace(_PLUS, "+").strip(), border)
    return parts


def names_card_memory(text: str) -> bool:
    """True if `text` calls a size the GPU's, such as `96GB VRAM`."""
    return bool(re.search(r"(?i)(?<![a-z])vram(?![a-z])|ビデオメモリ", text))


def _loosely(name: str) -> str:
    """A pattern that finds `name` with and without spaces around its plus and between its words."""
    words = [re.escape(word) for word in re.findall(r"\+|[^\s+]+", name)]
    return r"(?<![a-z0-9])" + r"[\s-]*".join(words) + r"(?![0-9])"


def _parts_of_piece(piece: str, border: str) -> list[Part]:
    """The parts of a piece without borders. RAM may stand behind a name without a sign between
    them: `RTX 3090 64GB RAM` has two parts.
    """
    ram = [
        Part(
            kind="ram",
            text=match["before"] or match["behind"],
            count=int(match["count"] or 1),
            border=border,
        )
        for match in _RAM.finditer(piece)
    ]
    if ram:
        piece = re.sub(
            r"(?i)\s+(?:with|w/|incl\.?|including)\s*$", "", _RAM.sub(" ", piece).strip()
        )
    name = piece.strip(" -:")
    if ram and not name.strip("()"):
        return ram
    return [_counted(name, border), *ram]


def _counted(piece: str, border: str) -> Part:
    """A name or a size, with the count that stands before or behind it."""
    count, name = 1, piece
    piece = re.sub(r"\((\s*x\s*\d{1,2}|\d{1,2}\s*x)\s*\)", r"\1", piece)
    if first := _COUNT_FIRST.match(piece):
        count, name = int(first[2] or first[3] or _COUNT_WORDS[first[1].lower()]), first[4]
    elif last := _COUNT_LAST.match(piece):
        count, name = int(last[2] or last[3] or last[4]), last[1]
    name = name.strip(" -:")
    without_card = _CARD_WORD.sub(" ", name)
    bare = _MEMORY_WORD.sub(" ", without_card).strip(" -:()")
    if re.fullmatch(SIZE, bare):
        return Part(
            kind="size" if without_card == name else "vram", text=bare, count=count, border=border
        )
    return Part(kind="name", text=name, count=count, border=border)
