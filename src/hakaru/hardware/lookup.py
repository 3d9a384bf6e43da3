"""The catalogue's rows by name: `rtx4090`, `NVIDIA A100-SXM4-80GB` and `3090s` find their row.

A name is a set of words. A row answers if one of its forms (its name, its aliases) has all of them;
the form with the fewest further words wins. Words that only decorate (`Workstation Edition`,
`HBM3`, `PCIe`) may be missing from a form, and words that are written together (`1080Ti`,
`4070tisuper`) are cut where the catalogue knows the pieces.
"""

import difflib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Final

from hakaru.hardware.spelling import fold, sizes_in

Row = dict[str, Any]


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


_NOISE: Final = _set(
    "nvidia amd ati intel apple geforce radeon instinct tesla gpu gpus graphics card cards "
    "corporation corp desktop board "
    "machine vram memory unified generation gen edition with w design the a of series superchip "
    "grace hopper founders fe oc "
    "nvgpu rebuilt modded gddr5 gddr6 gddr6x gddr7 lpddr5x gb gib core cores kit developer "
    "devkit mainboard center data"
)
_DECORATION: Final = _set("pcie sxm hbm2 hbm2e hbm3 hbm3e workstation server ac nvl72 dgx hgx")
"""Words that a form may lack: a row that has them is still preferred."""
_LIGHT: Final = _DECORATION | _set("rtx gtx rx ryzen ai core ultra jetson")
"""Words of a form that a person may leave out without meaning another product."""
_KINDS: Final = _LIGHT | _set("laptop maxq pro max ti super xt xtx xe quadro arc ada blackwell d")
"""Words that tell kinds of products apart, but name none alone."""
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
    "celeron cpu snapdragon pi "
    "raspberry ampereone altra graviton"
)
_SIZE_TOLERANCE: Final = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """One way in which a row is called: its words, and the sizes that stand in it, in GB as they
    are sold.
    """

    words: frozenset[str]
    sizes: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """What a name may mean: the rows that answer equally well, and the sizes that the name
    holds.
    """

    rows: tuple[Row, ...]
    sizes: tuple[float, ...] = ()
    other_sizes: tuple[Row, ...] = ()  # rows of that name that have another size than the name says


@cache
def table() -> tuple[Row, ...]:
    """All rows of the catalogue."""
    return tuple(
        json.loads((files("hakaru.hardware") / "accelerators.json").read_text(encoding="utf-8"))
    )


def find_rows(name: str, *, loosely: bool = True) -> Match:
    """The rows that `name` may mean; `loosely`: also those whose name only stands in it
    (`EVGA RTX 3090 FTW3`). Several products in one name (`RX 7900 XT/7900 XTX`) give the rows of
    each.
    """
    folded = _PRODUCTS.sub(" ", fold(name).lower())
    outside = re.sub(r"\([^)]*\)", " ", folded)
    texts = (
        folded,
        outside,
        *re.findall(r"\(([^)]*)\)", folded),
    )  # brackets may hold the card, or only where it is built in
    for fits in (_fits, _stands_in) if loosely else (_fits,):
        for text in texts:
            found = _find(text, fits)
            if found.rows or found.other_sizes:
                return found
    if "/" not in folded:
        return found
    each = [_find(part, _fits) for part in re.split(r"\s*/\s*", folded)]
    rows = {row["id"]: row for match in each for row in match.rows}
    return Match(
        rows=tuple(rows.values()), sizes=tuple(size for match in each for size in match.sizes)
    )


def nearest_names(name: str, n: int = 3) -> list[str]:
    """Up to `n` names of the catalogue that are spelled most like `name`."""
    wanted = " ".join(sorted(_words(sizes_in(fold(name).lower())[1])))
    spelled = {
        " ".join(sorted(form.words)): row["name"]
        for row, forms in reversed(_forms())
        for form in forms
    }
    close = difflib.get_close_matches(wanted, spelled, n=3 * n, cutoff=0.5)
    return list(dict.fromkeys(spelled[key] for key in close))[:n]


def is_processor(name: str) -> bool:
    """Whether `name` is a processor's, which has no memory of its own."""
    words = set(re.findall(r"[a-z0-9]+", fold(name).lower()))
    return bool(_PROCESSOR & words) or {"core", "ultra"} <= words


@cache
def names_with_plus() -> tuple[str, ...]:
    """The parts of the catalogue's names that hold a plus, such as `Max+ PRO 395`."""
    names = [name for row in table() for name in (row["name"], *row.get("aliases", ()))]
    return tuple(
        {found[0] for name in names if (found := re.search(r"[^\s(]+(?: PRO)?\+.*?\d+", name))}
    )


def _find(folded: str, fits: Callable[[frozenset[str], Form], bool]) -> Match:
    """The rows with a form that fits and a size that the name holds; or, where only the size is
    another one, those rows.
    """
    sizes, rest = sizes_in(re.sub(r"\b(\d+)(?:c gpu| gpu cores?)\b", r"\1-core gpu", folded))
    for text in (rest, re.sub(r"\b\d+[- ]cores?\b(?: (?:gpu|cpu))?", " ", rest)):
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
    """Whether a form has all words that matter, and at least one that tells products apart."""
    return words - form.words <= _DECORATION and bool(words & form.words - _KINDS)


def _stands_in(words: frozenset[str], form: Form) -> bool:
    """Whether a form of several words is part of `words`, and what it lacks makes no other product
    of it.
    """
    further = words - form.words
    return (
        len(form.words) > 1
        and form.words - _DECORATION <= words
        and bool(form.words - _KINDS)
        and not further & (_KINDS | {"ultra", "plus"})
        and not any(
            re.fullmatch(r"\d+[qcab]", word) for word in further
        )  # a virtual GPU has a part of the card: A40-12Q
    )


def _surplus(words: frozenset[str], form: Form) -> float:
    """How much a form says beyond `words`, and a little for decoration that it lacks."""
    return sum(0.1 if word in _LIGHT else 1.0 for word in form.words - words) + 0.05 * len(
        words - form.words
    )


def _has_size(row: Row, form: Form, gib: float) -> bool:
    """Whether a machine of that row may be called one of `gib`."""
    known = [
        *form.sizes,
        *(size for size in (row["memory_gib"], row.get("reported_mib", 0) / 1024) if size),
    ]
    return (row["kind"] == "unified" and _is_open(row)) or any(
        abs(gib - size) <= _SIZE_TOLERANCE * size for size in known
    )


def _is_open(row: Row) -> bool:
    """Whether the memory is chosen when the machine is bought."""
    return row["memory_gib"] is None or bool(row.get("shares_ram"))


@cache
def _forms() -> tuple[tuple[Row, tuple[Form, ...]], ...]:
    return tuple(
        (row, tuple(_form(name) for name in (row["name"], *row.get("aliases", ()))))
        for row in table()
    )


def _form(name: str) -> Form:
    sizes, rest = sizes_in(fold(name).lower())
    return Form(words=frozenset(_plain_words(rest)) - _NOISE, sizes=tuple(sizes))


def _plain_words(text: str) -> list[str]:
    words = re.findall(
        r"[a-z0-9.]+|ノート", re.sub(r"\b\d+\s*w(?![\w/])", " ", text.replace("max-q", "maxq"))
    )  # watts name nothing
    return ["sxm" if re.fullmatch(r"sxm\d?", word) else word.strip(".") for word in words]


@cache
def _vocabulary() -> frozenset[str]:
    return frozenset().union(
        *(form.words for _, forms in _forms() for form in forms), _NOISE, _DECORATION, _ALIASES
    )


def _words(text: str) -> frozenset[str]:
    """The words of what somebody typed, each as the catalogue writes it where it knows it."""
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
    """`word` cut into pieces that the catalogue knows, the longest first; None where that does not
    work out.
    """
    for end in range(len(word) - 1, 0, -1):
        first, rest = word[:end], word[end:]
        if len(first) > 1 and first in _vocabulary():  # never `a1000` as `a` and `1000`
            pieces = [rest] if rest in _vocabulary() else _cut(rest)
            if pieces:
                return [first, *pieces]
    return None
