"""A program on a node of a cluster, for as long as its stdin is open.

Here it is a child of this process; elsewhere it runs at the end of one ssh session. Its stdin ends
with whoever started it, however that ends, and such a program then ends by itself.
"""

import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from typing import IO

from hakaru.clusters.ssh import no_ssh


class NodeSession:
    """The running `command`. Raises MachineError where there is no ssh."""

    def __init__(self, command: Sequence[str]) -> None:
        self._said: IO[str] = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115 -- `end` closes its stderr
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._said,
                text=True,
                errors="replace",
                start_new_session=True,  # Ctrl-C is for the head, which then ends it in order
            )
        except FileNotFoundError as error:
            self._said.close()
            raise no_ssh() from error

    @property
    def lines(self) -> IO[str]:
        """What it says on stdout."""
        assert self._process.stdout
        return self._process.stdout

    @property
    def is_up(self) -> bool:
        """Whether it still runs."""
        return self._process.poll() is None

    def wait(self) -> int:
        """Return when it has ended, with its exit status."""
        return self._process.wait()

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()

    def said(self) -> str:
        """What it said on stderr."""
        self._said.seek(0)
        return self._said.read()

    def end(self, within_s: float) -> int | None:
        """End its stdin, and return its exit status; None if it had to be killed."""
        process = self._process
        assert process.stdin
        with suppress(BrokenPipeError):
            process.stdin.close()
        with suppress(subprocess.TimeoutExpired):
            process.wait(within_s)
        code = process.poll()
        process.kill()
        process.wait()
        self._said.close()
        return code
