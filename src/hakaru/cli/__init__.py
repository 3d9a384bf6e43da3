"""The command line: reads options, asks the rooms, and tells the result."""

import io
import os
import sys
from contextlib import suppress
from copy import copy
from typing import TYPE_CHECKING, Final

from hakaru.cli.fields import OPTION_OF
from hakaru.errors import HakaruError, Interrupted, Misuse, check_name, system_reason
from hakaru.language import LANGUAGES, listed, say, spell_fields, use_language
from hakaru.signals import ENDING, INTERRUPTED, heeded

if TYPE_CHECKING:
    from hakaru.cli.commands.test import Live
    from hakaru.engine.early import EarlyEngine
    from hakaru.serving.serve_at import Pages

PASTED: Final = ("command", "check", "quoted", "right", "url", "path", "folder")
"""Fields of errors that a person pastes: a command, a right line of a task file, an address, a path
that may hold blanks or Japanese.
"""


def run(
    arguments: list[str],
    *,
    pages: "Pages | None" = None,
    live: "Live | None" = None,
    early: "EarlyEngine | None" = None,
) -> int:
    """Run `hakaru` with `arguments` and return its exit code. A server that it starts also shows
    `pages` to browsers, and a test `live` what it knows so far. `early` is the engine of a server.
    """
    from hakaru.cli.app import invoke
    from hakaru.cli.called import Around

    _usable_streams()
    spell_fields(OPTION_OF)
    try:
        with heeded(*ENDING):
            arguments, language = _language(arguments)
            use_language(language)
            code = invoke(arguments, Around(pages, live, early))
            sys.stdout.flush()
        return code
    except HakaruError as error:
        _warn(_unbroken(error))
        return error.exit_code
    except Interrupted as kept:
        _warn(str(kept))
        return INTERRUPTED
    except KeyboardInterrupt:
        _print_last(say("hakaru: interrupted; nothing half-done was kept."))
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(
            os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno()
        )  # the reader left, as `head` does
        return 0
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        reason = system_reason(error)
        told = (
            say("{path}: cannot be used ({reason}).", path=error.filename, reason=reason)
            if error.filename  # the output has no name
            else say("the output cannot be written ({reason}).", reason=reason)
        )
        _print_last(f"hakaru: {told}")
        return 1


def _unbroken(error: HakaruError) -> str:
    """The sentence of `error`, in which no line ends inside what a person will paste."""
    from hakaru.cli.wrapping import whole  # help needs none of it

    texts = {name: error.fields[name] for name in PASTED if error.fields.get(name)}
    kept = copy(error)
    kept.fields = {**error.fields, **{name: whole(str(text)) for name, text in texts.items()}}
    return str(kept)


def _warn(text: str) -> None:
    from hakaru.cli.output import warn  # help needs none of it

    with suppress(OSError):  # the terminal was closed
        warn(text)


def _print_last(text: str) -> None:
    with suppress(OSError):
        print(text, file=sys.stderr)


def _usable_streams() -> None:
    """A closed stdout or stderr becomes nowhere, and a character that a stream cannot say becomes a
    question mark.
    """
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 -- it lives as long as the process
        elif isinstance(stream := getattr(sys, name), io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _language(arguments: list[str]) -> tuple[list[str], str | None]:
    """Take `--lang X` out, wherever it stands."""
    kept, language = [], None
    rest = iter(arguments)
    for argument in rest:
        check_name(argument)
        if argument == "--lang":
            language = next(rest, "")
        elif argument.startswith("--lang="):
            language = argument.removeprefix("--lang=")
        else:
            kept.append(argument)
            continue
        if language not in LANGUAGES:
            use_language(None)  # the environment's, to say it in
            raise Misuse(
                "--lang is '{found}', expected one of {known}.",
                found=language,
                known=listed(LANGUAGES),
            )
    return kept, language
