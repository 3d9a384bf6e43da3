"""The catalogue's rows by name: `rtx4090`, `NVIDIA A100-SXM4-80GB` and `3090s` find their row.

A name is a set of words. A row matches if one of its forms (its name, its aliases) has all words of
the name; the form with the fewest further words wins. Words that only decorate (`Workstation
Edition`, `HBM3`, `PCIe`) may be missing from a form, and words that are written together (`1080Ti`,
`4070tisuper`) are cut where the catalogue has the pieces.
"""

import difflib
import json
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

from hakaru.hardware.spelling import fold, sizes_in

Row = dict[str, Any]


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


_NOISE: Final = _set(
    "nvidia amd ati intel apple geforce radeon instinct tesla gpu gpus graphics card cards "
    "corporation corp desktop board machine vram memory unified generation gen edition with w "
    "design the a of series superchip grace hopper founders fe oc nvgpu rebuilt modded gddr5 gddr6 "
    "gddr6x gddr7 lpddr5x gb gib core cores kit developer devkit mainboard center data"
)
_DECORATION: Final = _set("pcie sxm hbm2 hbm2e hbm3 hbm3e workstation server ac nvl72 dgx hgx")
"""Words that a form may lack; a row with such a word is preferred to one without."""
_LIGHT: Final = _DECORATION | _set("rtx gtx rx ryzen ai core ultra jetson")
"""Words of a form that a person may leave out and still mean the same product."""
_KINDS: Final = _LIGHT | _set("laptop maxq pro max ti super xt xtx xe quadro arc ada blackwell d")
"""Words that tell products apart, but are no product's name alone."""
_PRODUCTS: Final = re.compile(
    r"\b(?:macbook\s*(?:pro|air|neo)?|mac\s*(?:studio|mini|pro)|imac)\b"
    r"(?:\s*\(?1[3-6](?:[\"”]|[- ]?inch)?\)?(?=[\s,]))?"
)
_ALIASES: Final = {
    "mobile": "laptop",
    "notebook": "laptop",
    "ノート": "laptop",
    "m": "laptop",
    "s": "",
    "al": "ai",
}
_PROCESSOR: Final = _set(
    "i3 i5 i7 i9 n95 n97 n100 n150 n200 n300 n305 xeon epyc threadripper ryzen athlon pentium "
    "celeron cpu snapdragon pi raspberry ampereone altra graviton"
)
_SIZE_TOLERANCE: Final = 0.02


class Form(Struct, frozen=True, kw_only=True):
    """A name or an alias of a row."""

    words: frozenset[str]
    sizes: tuple[float, ...]  # the sizes in the name, in GiB (a card of 80 GiB is sold as 80 GB)


class Match(Struct, frozen=True, kw_only=True):
    """The rows that a name may mean."""

    rows: tuple[Row, ...]  # they match equally well
    sizes: tuple[float, ...] = ()  # the sizes in the name, in GiB
    other_sizes: tuple[Row, ...] = ()  # if `rows` is empty: rows of that name with another memory

    @property
    def is_known(self) -> bool:
        """True if the catalogue has the name, be it with another memory."""
        return bool(self.rows or self.other_sizes)

    @property
    def is_unified(self) -> bool:
        """True if the name means chips that share the processor's memory, and nothing else."""
        return bool(self.rows) and all(row["kind"] == "unified" for row in self.rows)


@cache
def table() -> tuple[Row, ...]:
    """All rows of the catalogue."""
    return tuple(
        json.loads(Path(__file__).with_name("accelerators.json").read_text(encoding="utf-8"))
    )


def find_rows(name: str, *, loosely: bool = True) -> Match:
    """The rows that `name` may mean. If `loosely`, also the rows whose name is a part of `name`
    (`EVGA RTX 3090 FTW3`). Several products in one name (`RX 7900 XT/7900 XTX`) give the rows of
    all.
    """
    folded = _PRODUCTS.sub(" ", fold(name).lower())
    outside = re.sub(r"\([^)]*\)", " ", folded)
    inside = re.findall(r"\(([^)]*)\)", folded)  # the card, or the machine that it is built into
    for fits in (_fits, _stands_in) if loosely else (_fits,):
        for text in (folded, outside, *inside):
            match = _find(text, fits)
            if match.is_known:
                return match
    if "/" not in folded:
        return match
    matches = [_find(part, _fits) for part in re.split(r"\s*/\s*", folded)]
    rows = {row["id"]: row for match in matches for row in match.rows}
    return Match(
        rows=tuple(rows.values()), sizes=tuple(size for match in matches for size in match.sizes)
    )


def board_watts(name: str) -> float | None:
    """The published power of the accelerator of this name, which is the most that it draws; None
    where it is not published, or where several have the name.
    """
    powers = {row["tdp_w"] for row in find_rows(name, loosely=False).rows}
    return powers.pop() if len(powers) == 1 else None


def nearest_names(name: str, n: int = 3) -> list[str]:
    """Up to `n` names of the catalogue that are spelled most like `name`."""
    words = " ".join(sorted(_words(sizes_in(fold(name).lower())[1])))
    name_by_words = {
        " ".join(sorted(form.words)): row["name"]
        for row, forms in reversed(_forms())
        for form in forms
    }
    nearest = difflib.get_close_matches(words, name_by_words, n=3 * n, cutoff=0.5)
    return list(dict.fromkeys(name_by_words[key] for key in nearest))[:n]


def is_processor(name: str) -> bool:
    """True if `name` is a processor's: a processor has no memory of its own."""
    words = set(re.findall(r"[a-z0-9]+", fold(name).lower()))
    return bool(_PROCESSOR & words) or {"core", "ultra"} <= words


@cache
def names_with_plus() -> tuple[str, ...]:
    """The parts of the catalogue's names that hold a plus, such as `Max+ PRO 395`."""
    names = [name for row in table() for name in (row["name"], *row.get("aliases", ()))]
    parts = (re.search(r"[^\s(]+(?: PRO)?\+.*?\d+", name) for name in names)
    return tuple({part[0] for part in parts if part})


def _find(folded: str, fits: Callable[[frozenset[str], Form], bool]) -> Match:
    """The rows with a form that fits the name and with the memory that the name says. Where no row
    has that memory, the rows that fit are the match's `other_sizes`.
    """
    core_count = re.sub(r"\b(\d+)(?:c gpu| gpu cores?)\b", r"\1-core gpu", folded)
    sizes, sizeless = sizes_in(core_count)
    for text in (sizeless, re.sub(r"\b\d+[- ]cores?\b(?: (?:gpu|cpu))?", " ", sizeless)):
        words = _words(text)
        fitting = [
            (_surplus(words, form), row, form)
            for row, forms in _forms()
            for form in forms
            if fits(words, form)
        ]
        of_size = [
            (surplus, row)
            for surplus, row, form in fitting
            if all(_has_size(row, form, size) for size in sizes)
        ]
        if fitting:
            least = min(surplus for surplus, *_ in of_size or fitting)
            rows = {row["id"]: row for surplus, row, *_ in of_size or fitting if surplus == least}
            return Match(
                rows=tuple(rows.values()) if of_size else (),
                sizes=tuple(sizes),
                other_sizes=() if of_size else tuple(rows.values()),
            )
    return Match(rows=(), sizes=tuple(sizes))


def _fits(words: frozenset[str], form: Form) -> bool:
    """True if a form has all words that matter, and one of them is a product's name."""
    return words - form.words <= _DECORATION and bool(words & form.words - _KINDS)


def _stands_in(words: frozenset[str], form: Form) -> bool:
    """True if a form of several words is part of `words`, and the further words make no other
    product of it.
    """
    further = words - form.words
    return (
        len(form.words) > 1
        and form.words - _DECORATION <= words
        and bool(form.words - _KINDS)
        and not further & (_KINDS | {"ultra", "plus"})
        # a virtual GPU such as A40-12Q has a part of the card
        and not any(re.fullmatch(r"\d+[qcab]", word) for word in further)
    )


def _surplus(words: frozenset[str], form: Form) -> float:
    """How badly a form fits: the number of its words beyond `words`, of which light ones count
    little, and a little for every decoration that it lacks.
    """
    beyond = sum(0.1 if word in _LIGHT else 1.0 for word in form.words - words)
    return beyond + 0.05 * len(words - form.words)


def _has_size(row: Row, form: Form, gib: float) -> bool:
    """True if people may say of a machine of this row that it has `gib`."""
    chosen_when_bought = row["memory_gib"] is None or bool(row.get("shares_ram"))
    sizes = (*form.sizes, row["memory_gib"] or 0, row.get("reported_mib", 0) / 1024)
    return (row["kind"] == "unified" and chosen_when_bought) or any(
        size and abs(gib - size) <= _SIZE_TOLERANCE * size for size in sizes
    )


@cache
def _forms() -> tuple[tuple[Row, tuple[Form, ...]], ...]:
    return tuple(
        (row, tuple(_form(name) for name in (row["name"], *row.get("aliases", ()))))
        for row in table()
    )


def _form(name: str) -> Form:
    sizes, sizeless = sizes_in(fold(name).lower())
    return Form(words=frozenset(_plain_words(sizeless)) - _NOISE, sizes=tuple(sizes))


def _plain_words(text: str) -> list[str]:
    without_watts = re.sub(r"\b\d+\s*w(?![\w/])", " ", text.replace("max-q", "maxq"))
    words = re.findall(r"[a-z0-9.]+|ノート", without_watts)
    return ["sxm" if re.fullmatch(r"sxm\d?", word) else word.strip(".") for word in words]


@cache
def _vocabulary() -> frozenset[str]:
    return frozenset().union(
        *(form.words for _, forms in _forms() for form in forms), _NOISE, _DECORATION, _ALIASES
    )


def _words(text: str) -> frozenset[str]:
    """The words of a name that somebody typed, spelled as the catalogue spells them."""
    plain = [word for word in _plain_words(text) if word]
    words: list[str] = []
    while plain:
        word = plain.pop(0)
        if word not in _vocabulary() and plain and word + plain[0] in _vocabulary():  # `MI 50`
            words.append(word + plain.pop(0))
        else:
            words += [word] if word in _vocabulary() else _cut(word) or [word]
    if "maxq" in words and not {"pro", "blackwell"} & set(words):
        words = ["laptop" if word == "maxq" else word for word in words]
    return frozenset(_ALIASES.get(word, word) for word in words) - _NOISE - {""}


def _cut(word: str) -> list[str] | None:
    """`word` cut into words of the catalogue, with the longest possible word first. None if there
    is no such cut.
    """
    for end in range(len(word) - 1, 0, -1):
        first, last = word[:end], word[end:]
        if len(first) > 1 and first in _vocabulary():  # never `a1000` as `a` and `1000`
            pieces = [last] if last in _vocabulary() else _cut(last)
            if pieces:
                return [first, *pieces]
    return None
