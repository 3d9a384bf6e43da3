"""Where a line of a sentence may end.

English ends a line between words. Japanese ends one between phrases, which BudouX finds, never
before a closing sign or after an opening one (kinsoku). In both a number stays with its unit
(`92.1 MiB`, `30 ウィンドウ`), and what a person will paste stays whole: `whole("hakaru up")`.
Left out: hyphenation, and lines of equal length.
"""

import re
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING, Final
from unicodedata import combining, east_asian_width

if TYPE_CHECKING:
    from budoux import Parser

START, END = "\ufdd0", "\ufdd1"  # characters that Unicode keeps for such use; never printed
_COMMAND: Final = (
    r"(?:'[^']*/hakaru'|hakaru) (?:engine |tasks )?[a-z]+"
    r"(?: (?:--?[a-z][\w-]*(?: (?!-)\S+)?|'[^']*'|\S*[./:]\S*))*"
)
_WHOLE: Final = re.compile(f"{START}.*?{END}|`[^`]+`|{_COMMAND}")
"""What stays whole: what `whole` marked, what stands between backticks, and commands of hakaru with
their options and files.
"""
_ONE_WORD: Final = re.compile(
    "当てはま|元のまま|また[ぐぎ]|台帳|一致率|同時|分類|独自|か所|(?<=\\d )分未満|自分自身"
)
"""Words that BudouX would part."""
_JAPANESE: Final = re.compile("[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]")
_NEVER_FIRST: Final = frozenset(
    "、。，．・：；？！ー）］｝」』】〉》〕〟ぁぃぅぇぉっゃゅょァィゥェォッャュョ々)]},.:;!?%…‡*"
)
_SIGNS: Final = frozenset("≤≥=×~")
_NEVER_LAST: Final = frozenset("（［｛「『【〈《〔〝([{“‘約") | _SIGNS
_NUMBER: Final = re.compile(r"(?:^|[\s(（\[「、。:：~≤≥±+-])[\d.,…:×x+-]*\d(?:\]|\b)?$")
_LABEL: Final = re.compile(r"\S{1,12}(?: \S{1,12})? {2,}(?=\S)")
_UNIT: Final = re.compile(r"[^\W\d]|[%％\[‡×=/]")


def whole(text: str) -> str:
    """`text` as part of a sentence whose lines never end inside it: a command or a path."""
    return f"{START}{text}{END}"


def unmarked(text: str) -> str:
    """`text` without the marks of `whole`."""
    return text.replace(START, "").replace(END, "")


def cells_of(text: str) -> int:
    """How many cells of a terminal `text` takes; a Japanese letter takes two."""
    return len(text) if text.isascii() else sum(map(_cells, unmarked(text)))


def _cells(character: str) -> int:
    return 0 if combining(character) else 1 + (east_asian_width(character) in "WF")


def wrapped(text: str, width: int, *, indent: str = "", has_label: bool = True) -> list[str]:
    """The lines of `text`, none of them wider than `width` cells unless one word is. All lines but
    the first begin with `indent`, and with the blanks that `text` begins with; after a label such
    as `RAM     ` they begin below what follows it.
    """
    body = text.lstrip(" ")
    first = text[: len(text) - len(body)]
    lines, line = [], first
    if has_label and (label := _LABEL.match(body)):
        line, body, indent = first + label[0], body[label.end() :], " " * cells_of(label[0])
    start = line
    for part in _parts(body, width - cells_of(first + indent)):
        is_begun = len(line) > len(start)
        if is_begun and cells_of(line + part.rstrip()) > width:
            lines.append(line.rstrip())
            line = first + indent + part.lstrip()
        else:
            line += part if is_begun else part.lstrip()
    return [unmarked(one) for one in (*lines, line.rstrip())]


def wrap_help(
    text: str,
    width: int = 78,
    initial_indent: str = "",
    subsequent_indent: str = "",
    preserve_paragraphs: bool = False,
) -> str:
    """`text` in lines, as `click.formatting.wrap_text` gives it for help pages; Click counts
    letters, not cells, and knows no Japanese.
    """
    told = []
    room = width - max(map(cells_of, (initial_indent, subsequent_indent)))
    for paragraph in text.split("\n\n") if preserve_paragraphs else [text]:
        is_kept, body = paragraph.startswith("\b\n"), paragraph.removeprefix("\b\n")
        one_line = re.sub(r"\s*\n\s*", " ", body.strip())
        lines = body.split("\n") if is_kept else wrapped(one_line, room, has_label=False)
        indents = [initial_indent, *[subsequent_indent] * (len(lines) - 1)]
        told.append("\n".join(map("".join, zip(indents, lines, strict=True))))
    return "\n\n".join(told)


def _parts(text: str, width: int) -> list[str]:
    """`text` in parts between which a line may end; Japanese wider than `width` ends anywhere that
    kinsoku allows.
    """
    parts, begin = [], 0
    for end in [*_ends(text, width), len(text)]:
        part, begin = text[begin:end], end
        if START not in part and _JAPANESE.search(part) and cells_of(part) > width:
            parts += _between_letters(part)
        else:
            parts.append(part)
    return parts


def _ends(text: str, width: int) -> list[int]:
    """The places in `text` where a line may end; what stays whole, and is wider than `width`, has
    a line of its own.
    """
    kept = [m.span() for words in (_WHOLE, _ONE_WORD) for m in words.finditer(text)]
    taken = {i for start, end in kept for i in range(start + 1, end)}
    wide = [m.span() for m in _WHOLE.finditer(text) if cells_of(m[0]) > width]
    blanks = {m.start() for m in re.finditer(r"(?<=\S) +(?=\S)", text)}
    if _JAPANESE.search(text):
        found = {p for p in blanks if text[p - 1].isascii() and text[p:].lstrip()[0].isascii()}
        found |= {m.end() for m in re.finditer("[、。]", text)} | _phrases(text)
    else:
        found = blanks
    found |= {p for span in wide for p in span} | {
        m.start() for m in re.finditer(f" {START}", text)
    }
    return sorted(p for p in found - taken if 0 < p < len(text) and _may_end(text, p))


def _may_end(text: str, place: int) -> bool:
    before, after = unmarked(text[:place]).rstrip(), unmarked(text[place:]).lstrip()
    if not before or not after or before[-1] in _NEVER_LAST or after[0] in _SIGNS:
        return False
    is_blank = text[place] == " " or text[place - 1] == " "
    if not (is_blank or east_asian_width(before[-1]) in "WF" or east_asian_width(after[0]) in "WF"):
        return False  # within a figure or a Latin word
    if after[0] in _NEVER_FIRST and not (is_blank and re.match(r"[*.][\w*]", after)):
        return False
    if re.search(r"(?:^|\s)(?:--[a-z-]+|\S*hakaru'?)$", before) and not after.startswith("-"):
        return False  # an option and its value, or a command
    is_interval = re.match(r"\[-?\d", after)
    return not is_interval and not (_NUMBER.search(before) and _UNIT.match(after))


def _phrases(text: str) -> set[int]:
    """Where BudouX ends a phrase; a blank between two phrases belongs to the later one."""
    ends, place = set(), 0
    for phrase in _budoux().parse(text):
        place += len(phrase)
        ends.add(place - 1 if phrase.endswith(" ") else place)
    return ends


@cache
def _budoux() -> "Parser":
    import budoux  # only where Japanese is wrapped

    return budoux.load_default_japanese_parser()


def _between_letters(text: str) -> list[str]:
    """A long phrase in parts: Japanese letters singly, Latin words whole."""
    parts = [text[0]]
    for before, after in pairwise(text):
        is_word = before.isascii() and after.isascii() and before != " "
        if is_word or before in _NEVER_LAST or after in _NEVER_FIRST or before.isdigit():
            parts[-1] += after
        else:
            parts.append(after)
    return parts
