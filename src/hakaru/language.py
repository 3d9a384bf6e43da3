"""English and Japanese, one catalogue.

English sentences stand in the code, beside what they describe; `messages_ja.toml` maps every
English sentence to a Japanese one. A test walks the source and fails when a sentence has no
Japanese, or when the catalogue has a sentence that the source does not. The language is a context
variable, set once by the command line (`--lang`, then `LC_ALL`, `LC_MESSAGES`, `LANG`).
"""

import os
import re
from collections.abc import Iterable, Mapping
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from typing import Final

_CONTROLS: Final = re.compile("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
LANGUAGES: Final = ("en", "ja")
_FIELD: Final = re.compile(r"`(\w+)`")
_KANA_KANJI: Final = "[\u3005\u3041-\u3096\u30a1-\u30fa\u30fc\u4e00-\u9fff]"
_TOUCHING: Final = f"(?<={_KANA_KANJI}) ?\0+ ?(?={_KANA_KANJI})"
_APART: Final = (
    f"(?<={_KANA_KANJI}) ?\0+ ?(?=[A-Za-z0-9])|(?<=[A-Za-z0-9%]) ?\0+ ?(?={_KANA_KANJI})"
)
_AFTER_A_SIGN: Final = "(?<=[。、）」]) ?\0+ ?| ?\0+ ?(?=[（「])"
"""Compiled only by who reads Japanese: it takes 10 ms."""
_NOTHING: Final[Mapping[str, str]] = {}
_names: ContextVar[Mapping[str, str]] = ContextVar("names", default=_NOTHING)
_language: ContextVar[str] = ContextVar("language", default="en")


def use_language(language: str | None) -> str:
    """Use `language` in this context, or if it is None, the environment's. Returns the language in
    use.
    """
    _language.set(language or _from_environment())
    return _language.get()


def current_language() -> str:
    """The language in use here: `en` or `ja`."""
    return _language.get()


def translate(template: str, /, **fields: object) -> str:
    """The sentence for `template` in the language in use, with its fields filled in."""
    if _language.get() == "ja":
        template = japanese().get(template, template)
    values = {
        name: spelled(value) if isinstance(value, str) and value.startswith("`") else value
        for name, value in fields.items()
    }
    if not fields:
        return spelled(template)
    if _language.get() == "ja":
        return _spaced(spelled(template), values)
    return spelled(template).format(**values)


def _spaced(template: str, values: Mapping[str, object]) -> str:
    """The Japanese sentence, with a space between a field and the text beside it where exactly one
    of them is Latin, whatever stands in the template: "平均 KLD が", "一致率が". A full-width sign
    has its own space: "です。次は".
    """
    marked = re.sub(r"\{\w+(?:![rs])?(?::[^{}]*)?\}", lambda field: f"\0{field[0]}\0", template)
    text = re.sub(_AFTER_A_SIGN, "", marked.format(**values))
    return re.sub(_APART, " ", re.sub(_TOUCHING, "", text)).replace("\0", "")


def spell_fields(names: Mapping[str, str]) -> None:
    """Choose how sentences name fields in this context: by `names`, such as `{"n_ctx":
    "--context"}`.

    A sentence names a field in backticks: "`n_ctx` is 0, expected a whole number from 1". A person
    who imports hakaru reads the sentence as it stands; the command line puts the option
    (`--context`) in the place of the field.
    """
    _names.set(names)


def spelled(text: str) -> str:
    """`text` with its fields in backticks spelled as `spell_fields` has chosen."""
    names = _names.get()
    return _FIELD.sub(lambda field: names.get(field[1], field[0]), text) if names else text


def say(template: str, /, **fields: object) -> str:
    """`translate` by a short name, for which the test for missing Japanese looks."""
    return translate(template, **fields)


def language_name(language: str) -> str:
    """One of LANGUAGES in words."""
    return {"en": say("English"), "ja": say("Japanese")}[language]


def listed(things: Iterable[str]) -> str:
    """The things with the comma of the language in use between them."""
    return say(", ").join(things)


def together(sentences: Iterable[str]) -> str:
    """The sentences one after the other: with a blank between two in English, and in Japanese none
    after a full-width sign, which has its own.
    """
    text = ""
    for sentence in sentences:
        needs_blank = text and not (_language.get() == "ja" and text[-1] in "。、）」")
        text += " " + sentence if needs_blank else sentence
    return text


def without_controls(text: str) -> str:
    """A stranger's text, with a question mark for every character that would move a terminal's
    cursor or turn the writing direction.
    """
    return _CONTROLS.sub("?", text)


@cache
def japanese() -> dict[str, str]:
    """The catalogue: English template to Japanese template."""
    import tomllib  # English needs none

    text = Path(__file__).with_name("messages_ja.toml").read_text(encoding="utf-8")
    return {entry["en"]: entry["ja"] for entry in tomllib.loads(text)["message"]}


def _from_environment() -> str:
    values = (os.environ.get(name) for name in ("LC_ALL", "LC_MESSAGES", "LANG"))
    first = next((value for value in values if value), "")
    return "ja" if first.lower().startswith("ja") else "en"
