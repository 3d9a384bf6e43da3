"""How names of devices are spelled: signs in one form, and the sizes that stand in a name."""

import re
import unicodedata
from typing import Final

SIZE: Final = r"(?i:(?<![a-wyz0-9.])\d{1,12}(?:\.\d{1,12})?\s*(?:[gmt]i?b|g)(?![a-z0-9]))"
_MARKS: Final = re.compile(r"\((?:r|tm|c)\)|[®™©]", re.IGNORECASE)
_KANJI: Final = {"一": "1", "二": "2", "三": "3", "四": "4", "八": "8"}


def fold(text: str) -> str:
    """`text` with every sign in one form, such as `x` for a multiplication sign and plain letters
    for full-width ones, and without trade marks.
    """
    folded = re.sub(r"[×✕✖╳]", "x", unicodedata.normalize("NFKC", _MARKS.sub(" ", text)))
    folded = re.sub(
        r"[一二三四八](?=[枚台基])", lambda digit: _KANJI[digit[0]], _MARKS.sub(" ", folded)
    )
    return re.sub(r"\s+", " ", folded).strip()


def sizes_in(text: str) -> tuple[list[float], str]:
    """The sizes in a folded name in GiB (an accelerator's GB is a GiB), and the name without its
    sizes.
    """
    gib = {"m": 1 / 1024, "g": 1.0, "t": 1024.0}
    pairs = re.findall(r"([\d.]+)\s*([gmt])", " ".join(re.findall(SIZE, text)).lower())
    return [float(number) * gib[unit] for number, unit in pairs], re.sub(SIZE, " ", text)
