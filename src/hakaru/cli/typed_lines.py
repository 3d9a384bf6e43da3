"""What a person types at the prompt of `hakaru chat`, question by question.

Enter sends. A line that ends in a backslash goes on in the next one, Alt+Enter and Ctrl-J begin
one, too; pasted lines stay together. While an input method composes, the terminal keeps Enter to
itself. What was typed is kept for the arrow keys, in a file for the person alone, unless a line
begins with a blank (docs/decisions/0041).
"""

import os
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    from prompt_toolkit.history import History

MOST_BYTES: Final = 2**20
"""Of the history; the older half goes when it is longer."""


class Typing(Protocol):
    """Where questions come from."""

    def question(self) -> str:
        """The next one. Raises EOFError where there is none, KeyboardInterrupt for Ctrl-C."""


class Piped:
    """All of stdin is one question."""

    def __init__(self, read: Callable[[], str]) -> None:
        self._read: Callable[[], str] | None = read

    def question(self) -> str:
        """What stdin holds, once."""
        if self._read is None:
            raise EOFError
        read, self._read = self._read, None
        return read().strip()


class AtTerminal:
    """A person at a terminal. `history` is the file of what was typed; None: it is forgotten.
    `commands` are completed with Tab.
    """

    def __init__(self, history: Path | None, commands: Iterable[str]) -> None:
        from prompt_toolkit import PromptSession
        from prompt_toolkit.completion import WordCompleter
        from prompt_toolkit.output import create_output

        self._session: PromptSession[str] = PromptSession(
            history=_history(history),
            output=create_output(sys.stdout if sys.stdout.isatty() else sys.stderr),
            completer=WordCompleter(list(commands), sentence=True),
            complete_while_typing=False,
            multiline=True,
            key_bindings=_keys(),
            prompt_continuation="  ",
        )

    def question(self) -> str:
        """What is typed until Enter."""
        return self._session.prompt("> ")


def _history(path: Path | None) -> "History":
    from prompt_toolkit.history import FileHistory, InMemoryHistory

    class OwnHistory(FileHistory):
        def store_string(self, string: str) -> None:
            """Keep a line, but for one that begins with a blank. A full disk stops nobody."""
            if not string.startswith((" ", "\u3000")):
                with suppress(OSError):
                    _made_private(Path(os.fsdecode(self.filename)))  # `/forget` removed it
                    super().store_string(string)

    if path is None or not _made_private(path):
        return InMemoryHistory()
    return OwnHistory(str(path))


def _made_private(path: Path) -> bool:
    """Whether `path` can be kept: a file that nobody else may read, not longer than MOST_BYTES."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_APPEND, 0o600))
        path.chmod(0o600)
        if path.stat().st_size > MOST_BYTES:
            kept = path.read_bytes()[-MOST_BYTES // 2 :]
            begin = kept.find(b"\n# ")  # prompt_toolkit writes a line with the time before each
            path.write_bytes(kept[max(begin, 0) :])
    except OSError:
        return False
    return True


def _keys() -> Any:
    from prompt_toolkit.key_binding import KeyBindings

    keys = KeyBindings()

    @keys.add("enter")
    def _(event: Any) -> None:
        buffer = event.current_buffer
        if buffer.document.is_cursor_at_the_end and buffer.text.endswith("\\"):
            buffer.delete_before_cursor()
            buffer.insert_text("\n")
        else:
            buffer.validate_and_handle()

    @keys.add("escape", "enter")
    @keys.add("c-j")
    def _(event: Any) -> None:
        event.current_buffer.insert_text("\n")

    return keys
