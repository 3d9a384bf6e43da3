"""The server, the parent's half: one llama.cpp server process on a Unix socket, with its log, its
buffers and its end.

Speed is measured through this same process that will serve (see evaluation/speed.py), and `serving`
supervises it.
"""

import json
import signal
import socket
import subprocess
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from hakaru.engine.builds import selection
from hakaru.engine.early import EarlyEngine
from hakaru.engine.environment import server_environment
from hakaru.engine.isolation import cell_of, engine_below, signal_told
from hakaru.engine.mode import Mode
from hakaru.engine.out_of_memory import n_ended_for_memory, ran_out
from hakaru.engine.process import (
    child_command,
    end_by_force,
    how_it_ended,
    peak_rss_bytes,
    send,
    server_process,
)
from hakaru.engine.promises import check_promises
from hakaru.engine.server_flags import server_flags
from hakaru.engine.server_log import ServerLog
from hakaru.errors import EngineDied, EngineOutOfMemory, HakaruError, Misuse, ModelDamaged
from hakaru.hardware.nvidia import pinned_order
from hakaru.hardware.threads import n_threads
from hakaru.memory.settings import ContextSettings

if TYPE_CHECKING:  # a server that is only started does without
    import httpx

READY_WITHIN_S: Final = 60.0
STOP_WITHIN_S: Final = 0.5
"""Seconds for an end in order. A busy engine does not hear that it should end; it holds nothing
that would be lost.
"""
POLL_S: Final = 0.02  # between two questions to a program that does not say when it is ready
ANSWERS_WITHIN_S: Final = 5.0
LOAD_BYTES_PER_S: Final = 20e6
"""A slow disk. A server that takes longer than READY_WITHIN_S and the reading of its model hangs,
and is ended.
"""
SEND_BYTES_PER_S: Final = 1e6
"""A slow wireless network, over which a worker on another machine gets its weights."""


def server_request(
    path: Path, settings: ContextSettings, *, socket: Path, mode: Mode
) -> dict[str, Any]:
    """What a server of either kind is started with."""
    is_text = mode.gives == "text"
    return {
        "path": str(path),
        "socket": str(socket),
        "alias": path.stem,
        "n_threads": n_threads(),
        # a text to embed is pooled in one piece
        "n_batch": max(2048, settings.n_ubatch) if is_text else settings.n_ubatch,
        **settings.as_server(),
        **mode.as_request(socket.parent),
    }


def server_command(
    path: Path, settings: ContextSettings, *, socket: Path, mode: Mode | None = None
) -> list[str]:
    """The exact command that starts the server process of the build that serves."""
    mode, build = mode or Mode(), selection().server
    if mode.private:  # it starts in another folder
        path = path.absolute()
    request = server_request(path, settings, socket=socket, mode=mode)
    command = (
        [str(build.server), *server_flags(request, settings)]
        if build.server
        else child_command("hakaru.engine.server_child", json.dumps(request))
    )
    if mode.private:
        command = cell_of(build, path, mode.files, folder=socket.parent).around(command)
    return child_command("hakaru.engine.server_binary", *command) if build.server else command


def _says_ready(process: subprocess.Popen[str]) -> bool:
    """Wait until our child says that the model answers; False if it ends before."""
    assert process.stdout
    return process.stdout.readline().strip() == "ready"


def _is_healthy(address: Path, client: "httpx.Client") -> bool:
    """Whether the model behind the socket answers. A plain socket knocks first: httpx would leave
    its own end of a refused connection open.
    """
    import httpx

    with socket.socket(socket.AF_UNIX) as knock:
        if knock.connect_ex(str(address)) != 0:
            return False
    with suppress(httpx.TransportError):
        return client.get("/health").status_code == 200
    return False


def template_refused(path: Path, mode: Mode, reason: str) -> HakaruError:
    """The error for the chat template of `mode`, or else of the model, that cannot be used."""
    if mode.template:
        return Misuse(
            "`chat_template` {name}: cannot be used ({reason}); name another one.",
            name=mode.template.name,
            reason=reason,
        )
    return ModelDamaged(
        "{path}: its chat template cannot be used ({reason}); go on with another one: "
        "`chat_template` NAME or FILE.",
        path=path,
        reason=reason,
    )


def _write_template(mode: Mode, file: Path) -> None:
    """Write the text of the chat template that was named, if there is one, into `file`."""
    if mode.template and mode.template.text is not None:
        file.write_text(mode.template.text, encoding="utf-8")


def _death(path: Path, log: ServerLog, code: int | None) -> EngineDied:
    return EngineDied(
        "the engine's server process ended ({how}) while it served {path}; its last words: {last}",
        log=list(log.lines),
        how=how_it_ended(code),
        path=path,
        last=log.last_words(),
    )


class EngineServer:
    """One running server process. `with EngineServer(...) as server:` waits until it answers and
    ends it afterwards.
    """

    def __init__(
        self,
        path: Path,
        settings: ContextSettings,
        mode: Mode | None = None,
        log: ServerLog | None = None,
        early: EarlyEngine | None = None,
    ) -> None:
        # False: the wheel's server, a child of ours that says when it is ready
        self.is_program = selection().server.server is not None
        self.path, self.settings, self.mode = path, settings, mode or Mode()
        self._folder = (early := early or EarlyEngine()).folder()
        self.socket = Path(self._folder.name) / "http.sock"
        _write_template(self.mode, self.socket.with_name("template.jinja"))
        self.log, self._is_ready = log or ServerLog(), False
        self.command = server_command(path, settings, socket=self.socket, mode=self.mode)
        self._n_ended_for_memory = n_ended_for_memory()
        environment = server_environment(
            is_program=self.is_program, is_private=self.mode.private, cards=pinned_order()
        )
        taken = early.taken(self.command, environment)
        self.process = taken or server_process(self.command, environment)
        assert self.process.stdout and self.process.stderr
        self.log.listen(self.process.stderr)

    def __enter__(self) -> "EngineServer":
        try:
            self.wait_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def wait_ready(self) -> None:
        """Return when the model answers. Raises EngineDied if the process ends before that or takes
        too long, and EngineRefused if it has something otherwise than it was asked for.
        """
        bytes_per_s = SEND_BYTES_PER_S if self.mode.rpc else LOAD_BYTES_PER_S
        patience_s = READY_WITHIN_S + self.path.stat().st_size / bytes_per_s
        too_slow = threading.Event()

        def give_up() -> None:
            too_slow.set()
            self.kill()

        timer = threading.Timer(patience_s, give_up)
        timer.daemon = True
        timer.start()
        try:
            self._is_ready = self._answers() if self.is_program else _says_ready(self.process)
        finally:  # Ctrl-C, too: a timer that goes on keeps the whole process
            timer.cancel()
        if too_slow.is_set():
            raise EngineDied(
                "the engine did not become ready with {path} within {seconds:.0f} s and was "
                "ended; choose another model.",
                log=list(self.log.lines),
                path=self.path,
                seconds=patience_s,
            )
        if not self._is_ready:
            self.process.wait()
            raise self._broken_template() or self.death()
        self.log.wait_for_start()
        check_promises(self)

    def _answers(self) -> bool:
        """Ask until the program answers; False if it ends before."""
        with self.client(timeout=ANSWERS_WITHIN_S) as client:
            while self.process.poll() is None:
                if _is_healthy(self.socket, client):
                    return True
                time.sleep(POLL_S)
        return False

    def _broken_template(self) -> HakaruError | None:
        """The error for a chat template that cannot be used, which is why the engine did not come
        up; None for other reasons.
        """
        self.log.wait_for_end(2)
        reason = self.log.template_error()
        return template_refused(self.path, self.mode, reason) if reason else None

    def death(self) -> EngineDied:
        """The error that says how the process ended, with its last log lines."""
        code = self.process.poll()
        if code is not None:
            self.log.wait_for_end(2)  # its last words may still be on the way
        code = signal_told(code) if self.mode.private else code
        died = _death(self.path, self.log, code)
        if ran_out(died.log, code, self._n_ended_for_memory):
            return EngineOutOfMemory(died.template, log=died.log, **died.fields)
        return died

    def client(self, *, timeout: float = 600) -> "httpx.Client":
        """A client that speaks to this process over its socket, and uses no connection twice:
        llama.cpp's server closes one after a streamed answer without saying so.
        """
        import httpx

        limits = httpx.Limits(max_keepalive_connections=0)
        transport = httpx.HTTPTransport(uds=str(self.socket), limits=limits, verify=False)
        return httpx.Client(transport=transport, base_url="http://engine", timeout=timeout)

    @property
    def engine_pid(self) -> int:
        """The number of the engine's process, below bubblewrap's where it is private."""
        return engine_below(self.process.pid) if self.mode.private else self.process.pid

    def kill(self) -> None:
        """End the engine by force, and what stands above it when its memory is free."""
        if self.process.poll() is None and (pid := self.engine_pid) != self.process.pid:
            end_by_force(pid)
        self.process.kill()

    def peak_rss_bytes(self) -> int | None:
        """The process's peak resident memory so far, mapped weights included; None where the system
        does not tell.
        """
        return peak_rss_bytes(self.engine_pid)

    def stop(self) -> None:
        """End the process: in order if it answers, otherwise by force. A model that still loads
        never answers.
        """
        try:
            if self._is_ready:
                if self.is_program:
                    send(signal.SIGTERM, self.engine_pid)
                if self.process.stdin:
                    with suppress(BrokenPipeError):  # it is already gone
                        self.process.stdin.close()
                with suppress(subprocess.TimeoutExpired):
                    self.process.wait(timeout=STOP_WITHIN_S)
        finally:  # a second Ctrl-C does not leave it behind
            self.kill()
            self.process.wait()
        self.log.wait_for_end(1)
        for stream in filter(None, (self.process.stdin, self.process.stdout, self.process.stderr)):
            with suppress(BrokenPipeError):
                stream.close()
        self._folder.cleanup()
