"""Commands that a person pastes: quoted for the shell, and by the name under which hakaru is found.

`make up` leaves hakaru in `.venv/bin`, where no shell looks: there `hakaru chat` would not be
found, and `.venv/bin/hakaru chat` is said instead.
"""

import shlex
import shutil
import sys
from pathlib import Path


def pasted(*words: str | Path) -> str:
    """The words as one command line. A path with blanks is quoted, and one that begins with a dash
    gets `./` before it: it is no option.
    """
    return shlex.join(_spelled(word) for word in words)


def _spelled(word: str | Path) -> str:
    text = str(word)
    return f"./{text}" if isinstance(word, Path) and text.startswith("-") else text


def runnable(command: str) -> str:
    """The command `hakaru …` with the path of the program where the shell does not find it."""
    name, blank, rest = command.partition(" ")
    program = Path(sys.argv[0])
    if name != "hakaru" or program.name != name or shutil.which(name) or not program.is_file():
        return command
    path = program.absolute()
    with_path = path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
    return shlex.quote(str(with_path)) + blank + rest
