"""Commands that a person pastes: quoted for the shell, and by the name under which they are found.

`make up` leaves hakaru in `.venv/bin`, where no shell looks: there `hakaru chat` would not be
found, and `.venv/bin/hakaru chat` is said instead. Sentences name `hakaru` everywhere in the house;
where they leave for a terminal or a page, `runnable` puts the path before every command in them.
The same holds for `hf`, Hugging Face's own program, which comes with hakaru.
"""

import re
import shlex
import shutil
import sys
from pathlib import Path
from typing import Final

from hakaru.cli.wrapping import END, START

VERBS: Final = (
    "bench", "catalog", "chat", "choose", "cluster", "completion", "conform", "deploy", "doctor",
    "engine", "fit", "formula", "hardware", "key", "logs", "ls", "privacy-check", "ps", "pull",
    "quantize", "rm", "serve", "show", "stop", "tasks", "test", "trust", "tune", "up",
)  # fmt: skip
"""The commands of hakaru. In "hakaru cannot tell" the program is not meant to be typed."""
_COMMAND: Final = (
    r"(?<![A-Za-z0-9_./'-])(?:(?P<hf>hf) (?=download |models ls )|(?P<hakaru>hakaru) (?=--[a-z]|"
    rf"(?:{'|'.join(VERBS)})(?![A-Za-z0-9_/-]|\.[A-Za-z0-9])))"
)
_NO_COMMAND: Final = rf"{START}(?!hakaru |hf )[^{END}]*{END}|(?<!\S)'[^']*'(?!\S)"
"""Where a path that has blanks stands: marked by `whole`, or quoted for the shell."""
_LOOKED_AT: Final = re.compile(f"{_NO_COMMAND}|{_COMMAND}")


def pasted(*words: str | Path) -> str:
    """The words as one command line. A path with blanks is quoted, and one that begins with a dash
    gets `./` before it: it is no option.
    """
    return shlex.join(_spelled(word) for word in words)


def _spelled(word: str | Path) -> str:
    text = str(word)
    return f"./{text}" if isinstance(word, Path) and text.startswith("-") else text


def runnable(text: str, *, here: bool = True) -> str:
    """A sentence or a command, with the path of the program before every command in it, where the
    shell does not find the program by its name. `here`: it is pasted in the current folder, so that
    the path may begin there.
    """

    def spelled(match: re.Match[str]) -> str:
        name = match["hakaru"] or match["hf"]
        return f"{_program(name, here=here)} " if name else match[0]

    return _LOOKED_AT.sub(spelled, text)


def _program(name: str, *, here: bool) -> str:
    """How a shell finds the program `name`, which lies beside the one that runs."""
    ours = Path(sys.argv[0])
    program = ours.with_name(name).absolute()
    if ours.name != "hakaru" or shutil.which(name) or not program.is_file():
        return name
    if here and program.is_relative_to(Path.cwd()):
        program = program.relative_to(Path.cwd())
    return shlex.quote(str(program) if program.name != str(program) else f"./{program}")
