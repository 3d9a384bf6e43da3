"""An engine that is started before its plan is made, as the same words started it the last time.

`hakaru serve` needs time for its plan, and the engine for its model; here both go on at once
(docs/decisions/0057). What is promised stays as it is. The engine is started only where every file
of it is trusted and the memory that it needed is free. The plan is made as ever, from the memory
that was free before. The engine is kept only where the plan ends in its very command; otherwise it
is ended, and started as the plan says.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec import Struct
from msgspec.structs import replace

import hakaru
from hakaru import trust
from hakaru.engine.environment import server_environment
from hakaru.engine.process import server_process
from hakaru.errors import HakaruError
from hakaru.hardware.machine import Machine, Memory
from hakaru.hardware.processor import memory
from hakaru.places import cache_dir, run_dir, server_records, written_whole

if TYPE_CHECKING:
    from hakaru.engine.server import EngineServer

KEPT: Final = 8
"""Command lines whose last start is kept."""
SECRET: Final = "--api-key"
"""Of a command line with this option nothing is kept, not even its hash."""
OTHERS_WRITE: Final = 0o022


class Start(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How an engine was started."""

    command: tuple[str, ...]
    folder: str  # of its socket; it is named in the command
    is_program: bool  # a `llama-server`, not the wheel's
    is_private: bool
    files: tuple[str, ...]  # that it loads
    needs_bytes: int  # by its plan

    def moved_to(self, folder: str) -> "Start":
        """The same start, with its socket in `folder`."""
        command = tuple(word.replace(self.folder, folder) for word in self.command)
        return replace(self, command=command, folder=folder)


class EarlyEngine:
    """The engine for one command line, `words`. Without `begin` there is none, and a start is only
    remembered.
    """

    def __init__(self, words: Sequence[str] = ()) -> None:
        self._words = words
        self._process: subprocess.Popen[str] | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._command: tuple[str, ...] = ()
        self._environment: dict[str, str] = {}
        self._free: Memory | None = None  # before it was started
        self.was_taken = False

    def begin(self) -> None:
        """Start the engine, if it was started for these words before and may be again."""
        with suppress(HakaruError, OSError):  # whoever makes the plan meets the same, and tells it
            start = self._last()
            if start is None or not _may_be(start, free := memory()):
                return
            self._folder = tempfile.TemporaryDirectory(prefix="engine-", dir=run_dir())
            self._socket = Path(self._folder.name) / "http.sock"
            self._free, self._command = free, start.moved_to(self._folder.name).command
            self._environment = server_environment(
                is_program=start.is_program, is_private=start.is_private, cards={}
            )
            self._process = server_process(self._command, self._environment)

    def as_before(self, machine: Machine) -> Machine:
        """`machine` with the memory that was free before the engine was started, as long as no
        plan has asked for it.
        """
        return replace(machine, memory=self._free) if self._process and self._free else machine

    def folder(self) -> "tempfile.TemporaryDirectory[str]":
        """The folder for the socket of the engine that is planned."""
        folder, self._folder = self._folder, None
        return folder or tempfile.TemporaryDirectory(prefix="engine-", dir=run_dir())

    def taken(
        self, command: Sequence[str], environment: dict[str, str]
    ) -> "subprocess.Popen[str] | None":
        """The engine's process, if it runs, and so; otherwise it is ended."""
        process, self._process = self._process, None
        if process is None:
            return None
        is_asked_for = (tuple(command), environment) == (self._command, self._environment)
        self.was_taken = is_asked_for and process.poll() is None
        if self.was_taken:
            return process
        _end(process)
        self._socket.unlink(missing_ok=True)
        return None

    def end(self) -> None:
        """End an engine for which no plan has asked."""
        if process := self._process:
            self._process = None
            _end(process)
        if self._folder:
            self._folder.cleanup()

    def remember(self, server: "EngineServer", files: Iterable[Path], needs_bytes: int) -> None:
        """Keep how `server` was started for these words. It loads `files`, and needs so much by its
        plan.
        """
        self.keep(
            Start(
                command=tuple(server.command),
                folder=str(server.socket.parent),
                is_program=server.is_program,
                is_private=server.mode.private,
                files=tuple(str(file.absolute()) for file in files),
                needs_bytes=needs_bytes,
            )
        )

    def keep(self, start: Start) -> None:
        """Keep a start for these words. Nothing is kept on a full disk, or of a file whose name is
        no text.
        """
        if any(word.split("=")[0] == SECRET for word in self._words):
            return
        last = self._last()
        if last and last.moved_to(start.folder) == start:
            return
        with suppress(HakaruError, OSError, UnicodeEncodeError):
            cache_dir("starts")
            with written_whole(self._file) as part:
                part.write_bytes(msgspec.json.encode(start))
            _forget_old(self._file.parent)

    @property
    def _file(self) -> Path:
        """Where the last start for these words is kept."""
        key = json.dumps([*self._words, os.getcwd(), hakaru.__version__, sys.prefix])
        return cache_dir("starts", make=False) / f"{sha256(key.encode()).hexdigest()[:32]}.json"

    def _last(self) -> Start | None:
        """The last start for these words, if nobody else can have written it."""
        with suppress(OSError, msgspec.MsgspecError):
            about = self._file.stat()
            if about.st_uid == os.getuid() and not about.st_mode & OTHERS_WRITE:
                return msgspec.json.decode(self._file.read_bytes(), type=Start)
        return None


def _may_be(start: Start, free: Memory) -> bool:
    """Whether the engine may be started without a plan."""
    trusted = trust.trusted()
    are_trusted = all(
        (file := trusted.get(Path(name))) and file.is_at(Path(name)) for name in start.files
    )
    return are_trusted and start.needs_bytes <= free.available_bytes and not any(server_records())


def _end(process: "subprocess.Popen[str]") -> None:
    process.kill()  # and what stands below it, which lives no longer than it
    process.wait()
    for stream in filter(None, (process.stdin, process.stdout, process.stderr)):
        with suppress(BrokenPipeError):
            stream.close()


def _forget_old(folder: Path) -> None:
    files = sorted(folder.glob("*.json"), key=lambda file: file.stat().st_mtime, reverse=True)
    for file in files[KEPT:]:
        file.unlink(missing_ok=True)
