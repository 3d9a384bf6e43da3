"""Every sentence that hakaru says exists in Japanese, with the same fields."""

import ast
import re
import string
from pathlib import Path

import click
import pytest

from hakaru.cli.app import app
from hakaru.cli.fields import OPTION_OF
from hakaru.cli.in_language import texts_of_help
from hakaru.errors import Misuse
from hakaru.language import japanese, say, spell_fields, use_language
from hakaru.memory.graph_names import NAMES

SOURCE = Path(__file__).parent.parent / "src" / "hakaru"
SPEAKERS = {"say", "translate", "damaged", "_speak", "click_says", "__init__"}
COMMANDS = [
    c
    for command in app.commands.values()
    for c in (command.commands.values() if isinstance(command, click.Group) else [command])
]
OPTIONS = {
    option
    for command in COMMANDS
    for param in command.params
    for option in param.opts
    if option.startswith("--")
}
OTHER_PROGRAMS = ("llama-server", "pip install", "ollama pull", "curl ", "{path} --version")


def sentences(without: tuple[str, ...] = ()) -> dict[str, str]:
    """Every template in the source, but in the rooms `without`: the first argument of a speaker or
    of an error's constructor.
    """
    found = {}
    for path in SOURCE.rglob("*.py"):
        if path.relative_to(SOURCE).parts[0] in without:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and node.args and _speaks(node.func):
                for text in _strings(node.args[0]):
                    found[text] = f"{path.name}:{node.lineno}"
    return found


def help_texts() -> dict[str, str]:
    """Every text of `--help`."""
    groups = [command for command in app.commands.values() if isinstance(command, click.Group)]
    return {
        english: f"the help of {thing.name}"
        for command in (app, *groups, *COMMANDS)
        for thing, _, english in texts_of_help(command)
    }


def _speaks(function: ast.expr) -> bool:
    name = (
        function.id
        if isinstance(function, ast.Name)
        else function.attr
        if isinstance(function, ast.Attribute)
        else ""
    )
    import hakaru.errors

    return name in SPEAKERS or (
        isinstance(getattr(hakaru.errors, name, None), type) and name != "HakaruError"
    )


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
    said = sentences() | help_texts() | dict.fromkeys(NAMES, "a tensor of a graph")
    missing = {text: place for text, place in said.items() if text not in japanese()}
    assert not missing
    assert not set(japanese()) - set(said), "these translations belong to no sentence"


def test_sentences_below_the_command_line_name_no_option_of_ours() -> None:
    """Whoever imports hakaru typed none: a field is named, and the command line puts its option
    there.
    """
    below = {
        text: place
        for text, place in sentences(("cli",)).items()
        if OPTIONS & set(re.findall(r"(?<![-\w])--[\w-]+", text))
    }
    assert {
        text: place
        for text, place in below.items()
        if not any(other in text for other in OTHER_PROGRAMS)
    } == {}


def test_a_field_is_told_as_its_option() -> None:
    """In both languages, in a sentence and in the value of one of its fields; a file may be called
    as it likes.
    """
    error = Misuse(
        "{name} is {found}, expected a whole number from 1 to {high}.",
        name="`n_ctx`",
        found="a`n_ctx`",
        high=9,
    )
    assert str(error) == "`n_ctx` is a`n_ctx`, expected a whole number from 1 to 9."
    spell_fields(OPTION_OF)
    assert str(error) == "--context is a`n_ctx`, expected a whole number from 1 to 9."
    use_language("ja")
    assert str(error).startswith("--context")


def test_every_field_that_a_sentence_names_has_its_option() -> None:
    """The table has all of them, and no option that no command takes, but llama-server's."""
    named = {field for text in sentences() for field in re.findall(r"`([a-z_]+)`", text)}
    assert named <= set(OPTION_OF)
    assert set(OPTION_OF.values()) - OPTIONS <= {"-o", "--ctx-checkpoints"}


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
    error = Misuse("`tier` is '{found}', expected one of {known}.", found="best", known="balanced")
    assert str(error) == "`tier` is 'best', expected one of balanced."
    use_language("ja")
    assert "balanced" in str(error)
    assert "expected" not in str(error)
