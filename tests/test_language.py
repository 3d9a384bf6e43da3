"""Every sentence that hakaru says exists in Japanese, with the same fields."""

import ast
import string
from pathlib import Path

import pytest

from hakaru.errors import Misuse
from hakaru.language import japanese, say, use_language

SOURCE = Path(__file__).parent.parent / "src" / "hakaru"
SPEAKERS = {"say", "translate", "damaged", "_speak"}


def sentences() -> dict[str, str]:
    """Every template in the source: the first argument of a speaker or of an error's constructor."""
    found = {}
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and node.args and _speaks(node.func):
                for text in _strings(node.args[0]):
                    found[text] = f"{path.name}:{node.lineno}"
    return found


def _speaks(function: ast.expr) -> bool:
    name = function.id if isinstance(function, ast.Name) else function.attr if isinstance(function, ast.Attribute) else ""
    import hakaru.errors

    return name in SPEAKERS or (isinstance(getattr(hakaru.errors, name, None), type) and name != "HakaruError")


def _strings(node: ast.expr) -> list[str]:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return [node.value]
    if isinstance(node, ast.IfExp):
        return [*_strings(node.body), *_strings(node.orelse)]
    return []


def fields(template: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(template) if name}


def test_every_sentence_has_its_japanese() -> None:
    """A missing translation fails here, and so does one that nobody says any more."""
    said = sentences()
    missing = {text: place for text, place in said.items() if text not in japanese()}
    assert not missing
    assert not set(japanese()) - set(said), "these translations belong to no sentence"


def test_translations_have_the_same_fields() -> None:
    """A translation may reorder its fields, but not lose or invent one."""
    for english, translated in japanese().items():
        assert fields(english) == fields(translated), english


def test_the_language_is_the_environment_s_unless_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """LANG=ja_JP.UTF-8 speaks Japanese; --lang en goes before it."""
    monkeypatch.delenv("LC_ALL", raising=False)
    monkeypatch.delenv("LC_MESSAGES", raising=False)
    monkeypatch.setenv("LANG", "ja_JP.UTF-8")
    assert use_language(None) == "ja"
    assert say("it fits") != "it fits"
    assert use_language("en") == "en"
    assert say("it fits") == "it fits"


def test_errors_speak_the_language_in_use() -> None:
    """An error is rendered when it is shown, not when it is made."""
    error = Misuse("--quality is '{found}', expected one of {known}.", found="best", known="balanced")
    assert str(error) == "--quality is 'best', expected one of balanced."
    use_language("ja")
    assert "balanced" in str(error)
    assert "expected" not in str(error)
