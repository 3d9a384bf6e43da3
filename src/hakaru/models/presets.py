"""llama.cpp's presets: the names that people know, their ftype numbers, and the type that each one
is made of.

A preset is a mixture: `Q4_K_M` is made of Q4_K and gives some tensors Q6_K. Which tensors get which
type stands in `mixture.py`. Left out: TQ1_0, TQ2_0, Q1_0 and Q2_0, which serve models that were
trained for them, and NVFP4, which llama.cpp reads and does not write. Source: llama.cpp,
include/llama.h (llama_ftype) and src/llama-quant.cpp (llama_ftype_get_default_type).
"""

import re
import unicodedata
from collections.abc import Collection
from difflib import get_close_matches
from typing import Final

from hakaru.errors import Misuse
from hakaru.language import listed, say

FTYPES: Final = {
    "F32": 0, "F16": 1, "BF16": 32, "Q8_0": 7, "Q6_K": 18, "Q5_1": 9, "Q5_K_M": 17, "Q5_K_S": 16,
    "Q5_0": 8, "Q4_1": 3, "Q4_K_M": 15, "Q4_K_S": 14, "Q4_0": 2, "IQ4_NL": 25, "IQ4_XS": 30,
    "MXFP4_MOE": 38, "Q3_K_L": 13, "IQ3_M": 27, "Q3_K_M": 12, "IQ3_S": 26, "Q3_K_S": 11, "Q2_K": 10,
}  # fmt: skip
"""Presets that need no importance data, by name."""

NEEDS_IMPORTANCE: Final = {
    "IQ3_XS": 22, "IQ3_XXS": 23, "IQ2_M": 29, "IQ2_S": 28, "IQ2_XS": 20, "IQ2_XXS": 19, "IQ1_M": 31,
    "IQ1_S": 24, "Q2_K_S": 21,
}  # fmt: skip
"""Presets that llama.cpp refuses, or that are useless, without importance data, by name."""

BASE_TYPES: Final = {name: name for name in (*FTYPES, *NEEDS_IMPORTANCE)} | {
    "Q5_K_M": "Q5_K", "Q5_K_S": "Q5_K", "Q4_K_M": "Q4_K", "Q4_K_S": "Q4_K", "Q3_K_L": "Q3_K",
    "Q3_K_M": "Q3_K", "Q3_K_S": "Q3_K", "Q2_K_S": "Q2_K", "IQ3_M": "IQ3_S", "IQ3_XS": "IQ3_S",
    "IQ2_M": "IQ2_S", "IQ2_S": "IQ2_XS", "MXFP4_MOE": "MXFP4",
}  # fmt: skip
"""By preset, the type of every tensor for which the rules of `mixture.py` name no other."""

USUAL: Final = {
    2: "Q2_K", 3: "Q3_K_M", 4: "Q4_K_M", 5: "Q5_K_M", 6: "Q6_K", 8: "Q8_0", 16: "F16", 32: "F32",
}  # fmt: skip
"""The preset that people mean by a number of bits. Its real bits per weight are more: Q4_K_M has
about 4.85, Q8_0 has 8.5.
"""
MOST_NEAREST: Final = 4
"""How many presets are told where a name is none."""


def nearest_type(bits: float) -> str:
    """The usual preset whose number of bits is nearest: of 4.5 bits Q4_K_M."""
    return min(USUAL.items(), key=lambda item: abs(item[0] - bits))[1]


def preset_of_bits(bits: str | int) -> str:
    """The usual preset of so many bits, such as Q4_K_M for 4, "4", "4bit" or "4-bit". Raises
    Misuse.
    """
    number = re.fullmatch(
        r"(\d+)[\s-]*(?:bits?|ビット)?", unicodedata.normalize("NFKC", str(bits)).strip().lower()
    )
    if number is None or int(number[1]) not in USUAL:
        raise Misuse(
            "`bits` is '{found}', expected one of {known}; for another number of bits per weight, "
            "such as 4.5, name `bpw`.",
            found=bits,
            known=listed(map(str, USUAL)),
        )
    return USUAL[int(number[1])]


def preset_asked(preset: str | None, bits: str | int | None) -> str | None:
    """The preset that a person names by its name or by a number of bits. Raises Misuse."""
    if bits is None:
        return preset
    if preset is not None:
        raise Misuse("`bits` and `preset` both name a type; give one of them.")
    return preset_of_bits(bits)


def which_preset(bits: str | int) -> str:
    """Which preset a number of bits has become, in a sentence."""
    return say(
        "This is the preset {preset}, the usual one for so many bits. What it really takes stands "
        "below.",
        preset=preset_of_bits(bits),
    )


def preset_named(name: str) -> str:
    """The preset's canonical name, whether or not it needs importance data. Raises Misuse."""
    canonical = name.upper()
    if canonical not in BASE_TYPES:
        raise no_preset(name, BASE_TYPES)
    return canonical


def no_preset(name: str, known: Collection[str]) -> Misuse:
    """The refusal of a name that no preset of `known` has, with the nearest ones."""
    return Misuse(
        "`preset` is '{found}', expected such as {nearest}.",
        found=name,
        nearest=listed(nearest_presets(name, known)),
    )


def nearest_presets(name: str, known: Collection[str]) -> list[str]:
    """The presets of `known` that `name` may mean, the likeliest first.

    Examples: `Q4K` has Q4_K_M and Q4_K_S, `int4` what 4 bits have, `fp16` F16 and BF16. A name that
    is like none has the usual presets.
    """
    letters = re.sub(r"[^A-Z0-9]", "", unicodedata.normalize("NFKC", name).upper())
    number = re.fullmatch(r"(?:INT|W|Q|F|FP)?(\d{1,2})(?:BITS?)?", letters)
    n_bits = int(number[1]) if number else 0
    if number:
        letters = f"F{n_bits}" if n_bits >= 16 else f"Q{n_bits}"
    by_letters = {preset.replace("_", ""): preset for preset in known}
    near = [USUAL[n_bits]] if n_bits in USUAL else []
    if letters:
        begun = [preset for key, preset in by_letters.items() if key.startswith(letters)]
        near += sorted(begun, key=lambda preset: "_K" not in preset)  # the better of their size
        near += [preset for key, preset in by_letters.items() if letters in key]
    near = near or [by_letters[key] for key in get_close_matches(letters, by_letters)]
    near = near or [USUAL[n] for n in (4, 5, 6, 8)]
    return list(dict.fromkeys(near))[:MOST_NEAREST]
