"""What a server and its engines said, in a file that outlives them: `hakaru logs` reads it.

Two files of half a megabyte at most for each port, and those of few ports. No prompt stands in
them: the gateway writes none, and of the engine's log `engine.without_requests` keeps nothing that
came with a request. A full disk keeps nobody from serving.
"""

import logging
from collections.abc import Callable
from contextlib import suppress
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Final

from hakaru.errors import MachineError
from hakaru.places import log_dir
from hakaru.servers import log_of, running

MAX_BYTES: Final = 2**19
KEPT_PORTS: Final = 16
GATEWAY: Final = "hakaru"


class LogFile:
    """The log of the server at `port`. Where it cannot be written, nothing is."""

    def __init__(self, port: int) -> None:
        self.handler: logging.Handler = logging.NullHandler()
        self._is_begun = False
        with suppress(OSError, MachineError):
            log_dir()
            _forget_old()
            self.handler = _Quiet(
                log_of(port), maxBytes=MAX_BYTES, backupCount=1, encoding="utf-8", delay=True,
                errors="backslashreplace",
            )  # fmt: skip
        self.handler.setFormatter(logging.Formatter("%(asctime)s %(name)s: %(message)s"))

    def gateway(self, sentence: str) -> None:
        """Write what hakaru did."""
        self._write(GATEWAY, sentence)

    def gateway_and(self, tell: Callable[[str], None]) -> Callable[[str], None]:
        """What tells a sentence to `tell`, and writes it."""

        def told(sentence: str) -> None:
            tell(sentence)
            self.gateway(sentence)

        return told

    def engine(self, line: str) -> None:
        """Write what an engine said."""
        self._write("engine", line.replace("\t", "  "))

    def close(self) -> None:
        """Close the file, if anything was written."""
        if self._is_begun:
            self.gateway("the server ended")
        with suppress(OSError):  # the disk is full
            self.handler.close()

    def _write(self, who: str, text: str) -> None:
        self._is_begun = True
        self.handler.handle(logging.LogRecord(who, logging.INFO, "", 0, text, None, None))


class _Quiet(RotatingFileHandler):
    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 -- its name there
        """A full disk; logging itself would print a traceback."""


def _forget_old() -> None:
    """Remove the logs of ports that were used longest ago, but of no server that runs."""
    kept = {log_of(server.port) for server in running()}
    logs = [path for path in log_dir().glob("serve-*.log") if path not in kept]
    for path in sorted(logs, key=_age)[KEPT_PORTS:]:
        for old in (path, path.with_name(f"{path.name}.1")):
            old.unlink(missing_ok=True)


def _age(path: Path) -> float:
    with suppress(OSError):
        return -path.stat().st_mtime
    return 0.0
