"""The command line: a face without logic of its own."""

import os
import sys
from typing import TYPE_CHECKING

from hakaru.errors import HakaruError
from hakaru.language import LANGUAGES, say, use_language

if TYPE_CHECKING:
    from hakaru.serving.deployment import Pages


def run(arguments: list[str], *, pages: "Pages | None" = None) -> int:
    """Run `hakaru` with `arguments` and return its exit code. A server that it starts also shows `pages` to browsers."""
    from hakaru.cli.app import invoke

    try:
        arguments, language = _language(arguments)
        use_language(language)
        return invoke(arguments, pages)
    except HakaruError as error:
        print(f"hakaru: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print(say("hakaru: interrupted; nothing half-done was kept."), file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader left, as `head` does
        return 0


def _language(arguments: list[str]) -> tuple[list[str], str | None]:
    """Take `--lang X` out, wherever it stands."""
    from hakaru.errors import Misuse

    kept, language = [], None
    rest = iter(arguments)
    for argument in rest:
        if argument == "--lang":
            language = next(rest, "")
        elif argument.startswith("--lang="):
            language = argument.removeprefix("--lang=")
        else:
            kept.append(argument)
            continue
        if language not in LANGUAGES:
            raise Misuse("--lang is '{found}', expected one of {known}.", found=language, known=", ".join(LANGUAGES))
    return kept, language
