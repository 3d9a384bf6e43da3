"""English and Japanese, one catalogue.

English sentences stand in the code, where they are read together with what they describe;
`messages_ja.toml` maps each of them to Japanese. A test walks the source and fails when a sentence
has no Japanese, or when the catalogue holds one that nobody says. The language is a context
variable, set once by the command line (`--lang`, then `LC_ALL`, `LC_MESSAGES`, `LANG`).
"""

import os
import re
import tomllib
from collections.abc import Mapping
from contextvars import ContextVar
from functools import cache
from importlib.resources import files
from typing import Final

_CONTROLS: Final = re.compile("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
LANGUAGES: Final = ("en", "ja")
_FIELD: Final = re.compile(r"`(\w+)`")
_NOTHING: Final[Mapping[str, str]] = {}
_names: ContextVar[Mapping[str, str]] = ContextVar("names", default=_NOTHING)
_language: ContextVar[str] = ContextVar("language", default="en")


def use_language(language: str | None) -> str:
    """Choose the language for this context: the one named, or the environment's. Returns the one in
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
    told = {
        name: spelled(value) if isinstance(value, str) and value.startswith("`") else value
        for name, value in fields.items()
    }
    return spelled(template).format(**told) if fields else spelled(template)


def spell_fields(names: Mapping[str, str]) -> None:
    """Choose how sentences name fields in this context: by `names`, such as `{"n_ctx":
    "--context"}`.

    A sentence writes a field in backticks: "`n_ctx` is 0, expected a whole number from 1". Whoever
    imports hakaru reads it so; the command line puts the option in its place, since nobody typed
    the field there.
    """
    _names.set(names)


def spelled(text: str) -> str:
    """`text` with the fields that it names in backticks spelled as `spell_fields` was told."""
    names = _names.get()
    return _FIELD.sub(lambda field: names.get(field[1], field[0]), text) if names else text


def say(template: str, /, **fields: object) -> str:
    """`translate`, by the short name that the command line uses. The test for missing Japanese
    looks for this name.
    """
    return translate(template, **fields)


def without_controls(text: str) -> str:
    """A stranger's text with a question mark for what would move a terminal's cursor or turn its
    writing direction.
    """
    return _CONTROLS.sub("?", text)


@cache
def japanese() -> dict[str, str]:
    """The catalogue: English template to Japanese template."""
    text = (files("hakaru") / "messages_ja.toml").read_text(encoding="utf-8")
    return {entry["en"]: entry["ja"] for entry in tomllib.loads(text)["message"]}


def _from_environment() -> str:
    wanted = next((v for k in ("LC_ALL", "LC_MESSAGES", "LANG") if (v := os.environ.get(k))), "")
    return "ja" if wanted.lower().startswith("ja") else "en"
