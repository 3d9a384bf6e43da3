"""Help and the sentences of Click in the language in use.

A command's texts stand in English where it is declared. Before a command line is read, each is set
to its sentence in the language in use. Click asks gettext for its own sentences, by the names `_`
and `ngettext` in its modules; here these names lead to hakaru's catalogue instead.
"""

import re
from functools import cache
from typing import Final

import click
from click import core, exceptions, formatting, parser, types

from hakaru.cli.paste import runnable
from hakaru.cli.wrapping import cells_of
from hakaru.language import current_language, translate

_WRAP_ENGLISH: Final = formatting.wrap_text
_SENTENCE_END: Final = re.compile(r"(?<=[.?])\s|(?<=。)")
_NUMBER_TYPE: Final = re.compile("(integer|float)(?: range)?(?=として読めません)")
"""Click's English name of a type of number, in its Japanese sentence."""
_FIELDS: Final = ("help", "epilog", "metavar", "options_metavar", "subcommand_metavar")
"""Where a command, an option or an argument keeps its texts."""
_MODULES: Final = (core, exceptions, formatting, parser, types)
"""Not `decorators`, which makes `--help` and `--version`: their texts are set as all others are."""


def click_says(sentence: str) -> str:
    """A sentence of Click's; the test for missing Japanese looks for this name."""
    return sentence


OF_CLICK: Final = (
    click_says("Usage:"),
    click_says("Options"),
    click_says("Commands"),
    click_says("Show this message and exit."),
    click_says("default: {default}"),
    click_says("required"),
    click_says("Missing command."),
    click_says("Missing argument"),
    click_says("Missing option"),
    click_says("Choose from:\n\t{choices}"),
    click_says("No such command {name!r}."),
    click_says("No such option {name!r}."),
    click_says("Did you mean {possibility}?"),
    click_says("(Did you mean one of: {possibilities}?)"),
    click_says("Invalid value for {param_hint}: {message}"),
    click_says("Invalid value: {message}"),
    click_says("{value!r} is not {choice}."),
    click_says("{value!r} is not one of {choices}."),
    click_says("{value!r} is not a valid {number_type}."),
    click_says("{value} is not in the range {range}."),
    click_says("Option {name!r} does not take a value."),
    click_says("Option {name!r} requires an argument."),
    click_says("Option {name!r} requires {nargs} arguments."),
    click_says("Got unexpected extra argument ({args})"),
    click_says("Got unexpected extra arguments ({args})"),
)
"""What Click says to a person who types `hakaru`."""


def use_language() -> None:
    """Have Click speak the language in use."""
    for module in _MODULES:
        names = vars(module)
        names.update({name: _SPEAKERS[name] for name in _SPEAKERS if name in names})
    formatting.wrap_text = _WRAP_ENGLISH
    if current_language() == "ja":
        from hakaru.cli.wrapping import wrap_help  # English help needs none of it

        formatting.wrap_text = wrap_help
    vars(formatting)["term_len"] = cells_of  # Click counts letters, also of two cells


def speak(command: click.Command) -> None:
    """Have the help of a command, and of those below it that were made with it, speak the language
    in use.
    """
    for thing, field, english in texts_of_help(command):
        text = runnable(translate(english))
        setattr(thing, field, text)
        if isinstance(thing, click.Command) and field == "help":
            thing.short_help = _first_sentence(text)
    if isinstance(command, click.Group) and isinstance(command.commands, dict):
        for below in command.commands.values():
            speak(below)


def in_one_sentence(error: click.UsageError) -> str:
    """What Click found wrong, punctuated as the language in use is."""
    if isinstance(error, click.BadParameter) and isinstance(error.param, click.Option):
        error.param_hint = error.param_hint or f"'{error.param.opts[0]}'"  # one of its spellings
    text = error.format_message()
    if current_language() == "ja":
        text = text.removesuffix(".").replace("。 ", "。").replace("', '", "'、'")
        text = _NUMBER_TYPE.sub(lambda name: "整数" if name[1] == "integer" else "数", text)
        return text if text.endswith("。") else f"{text}。"
    return text if text.endswith((".", "?", "?)")) else f"{text}."


def _first_sentence(text: str) -> str:
    """The text to the end of its first sentence, for the list of commands. Click itself cuts a text
    where the line ends.
    """
    return _SENTENCE_END.split(text, maxsplit=1)[0]


def _plural(singular: str, plural: str, n: int) -> str:
    return translate(singular if n == 1 else plural)


_SPEAKERS: Final = {"_": translate, "ngettext": _plural}


@cache
def texts_of_help(
    command: click.Command,
) -> tuple[tuple[click.Command | click.Parameter, str, str], ...]:
    """Each text of the command's help as its holder, the field in which it stands, and its English.
    What stands for a value (`MODEL`, `[OPTIONS]`) is a text; options, and values that are typed as
    they are, stay.
    """
    things: list[click.Command | click.Parameter] = [command]
    things += command.get_params(click.Context(command))
    return tuple(
        (thing, field, english)
        for thing in things
        for field in _FIELDS
        if (english := getattr(thing, field, None) or _named_by_type(thing, field))
    )


def _named_by_type(thing: click.Command | click.Parameter, field: str) -> str | None:
    """What stands for the value of an option that names nothing itself: `INTEGER`. None for a flag
    and for a choice, whose values stand there.
    """
    if field != "metavar" or not isinstance(thing, click.Option):
        return None
    if thing.is_flag or isinstance(thing.type, click.Choice):
        return None
    return thing.type.name.removesuffix(" range").upper()
