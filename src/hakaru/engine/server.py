"""The server, the parent's half: one llama.cpp server process on a Unix socket, with its log, its
buffers and its end.

Speed is measured through this same process that will serve (see evaluation/speed.py), and `serving`
supervises it.
"""

import json
import os
import re
import socket
import subprocess
import tempfile
import threading
import time
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Final

import httpx

from hakaru.engine.builds import selection
from hakaru.engine.log import (
    accelerator_bytes,
    backend_of_log,
    buffer_bytes,
    checkpoint_of,
    last_words,
)
from hakaru.engine.mode import Mode
from hakaru.engine.process import (
    KEPT_LINES,
    child_command,
    child_environment,
    engine_environment,
    how_it_ended,
)
from hakaru.engine.server_flags import server_flags
from hakaru.errors import EngineDied, EngineRefused, HakaruError, Misuse, ModelDamaged
from hakaru.hardware.threads import n_threads
from hakaru.memory.footprint import Footprint
from hakaru.memory.settings import ContextSettings
from hakaru.places import run_dir

READY_WITHIN_S: Final = 60.0
LOG_WITHIN_S: Final = 5.0
STOP_WITHIN_S: Final = 0.5
"""An engine that works on something does not look up; it holds nothing that would be lost, and
people wait for its end.
"""
POLL_S: Final = 0.02  # between two questions whether a program answers that cannot say it by itself
ANSWERS_WITHIN_S: Final = 5.0
LOAD_BYTES_PER_S: Final = (
    20e6  # a slow disk; whoever takes longer than both together hangs and is ended
)
NO_KEEPALIVE: Final = httpx.Limits(max_keepalive_connections=0)
"""llama.cpp's server closes a connection after a streamed answer without saying so; a client must
not use it again.
"""
_TEMPLATE_ERROR: Final = re.compile(r"chat template parsing error: (.*)")
MALLOC_ENVIRONMENT: Final = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": str(4 * 2**20),
    "MALLOC_TRIM_THRESHOLD_": str(4 * 2**20),
}
"""glibc gives every thread an arena, which keeps what it once held: a server that tokenized texts
of 280 KB grew by 208 MiB over 40 of them, and by 18 MiB with one arena that gives back what is free
(docs/labbook.md). Other systems ignore these names.
"""
_N_CTX: Final = re.compile(r"n_slots = (\d+), n_ctx_slot = (\d+)")


def server_build() -> str:
    """The identity of the build that serves. Raises EngineMissing."""
    return selection().server.identity


def server_request(
    path: Path, settings: ContextSettings, *, socket: Path, mode: Mode
) -> dict[str, Any]:
    """What is asked of the server process, whichever build it is."""
    is_text = mode.gives == "text"
    return {
        "path": str(path),
        "socket": str(socket),
        "alias": path.stem,
        "n_threads": n_threads(),
        "n_batch": max(2048, settings.n_ubatch)
        if is_text
        else settings.n_ubatch,  # a text to embed is pooled in one piece
        **settings.as_server(),
        **mode.as_request(socket.parent),
    }


def server_command(
    path: Path, settings: ContextSettings, *, socket: Path, mode: Mode | None = None
) -> list[str]:
    """The exact command that starts the server process of the build that serves."""
    request = server_request(path, settings, socket=socket, mode=mode or Mode())
    if binary := selection().server.server:
        return child_command(
            "hakaru.engine.server_binary", str(binary), *server_flags(request, settings)
        )
    return child_command("hakaru.engine.server_child", json.dumps(request))


class EngineServer:
    """One running server process. `with EngineServer(...) as server:` waits until it answers and
    ends it afterwards.
    """

    def __init__(self, path: Path, settings: ContextSettings, mode: Mode | None = None) -> None:
        self._binary = (
            selection().server.server
        )  # None: the wheel's server, a child of ours that says when it is ready
        self.path, self.settings, self.mode = path, settings, mode or Mode()
        self._folder = tempfile.TemporaryDirectory(prefix="engine-", dir=run_dir())
        self.socket = Path(self._folder.name) / "http.sock"
        if self.mode.template and self.mode.template.text is not None:
            self.socket.with_name("template.jinja").write_text(
                self.mode.template.text, encoding="utf-8"
            )
        self.log: deque[str] = deque(maxlen=KEPT_LINES)
        self._start_log: list[str] = []
        self._is_ready = False
        self._checkpoints: dict[int, int] = {}
        self.process = subprocess.Popen(
            server_command(path, settings, socket=self.socket, mode=self.mode),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            env=(engine_environment() if self._binary else child_environment())
            | MALLOC_ENVIRONMENT,
            # Ctrl-C is for the parent, which then ends this process in order
            start_new_session=True,
        )
        assert self.process.stdout and self.process.stderr
        self._listener = threading.Thread(
            target=self._collect, args=(self.process.stderr,), daemon=True
        )
        self._listener.start()

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
        too long, and EngineRefused if it took a smaller context than the one asked for.
        """
        assert self.process.stdout
        patience = READY_WITHIN_S + self.path.stat().st_size / LOAD_BYTES_PER_S
        too_slow = threading.Event()

        def give_up() -> None:
            too_slow.set()
            self.process.kill()

        timer = threading.Timer(patience, give_up)
        timer.daemon = True
        timer.start()
        try:
            ready = (
                self._answers()
                if self._binary
                else self.process.stdout.readline().strip() == "ready"
            )
        finally:  # Ctrl-C, too: a timer that goes on keeps the whole process
            timer.cancel()
        self._is_ready = ready
        if too_slow.is_set():
            raise EngineDied(
                "the engine did not become ready with {path} within {seconds:.0f} s and was "
                "ended; choose another model.",
                log=list(self.log),
                path=self.path,
                seconds=patience,
            )
        if not ready:
            self.process.wait()
            raise self._broken_template() or self.death()
        self._wait_for_log()
        real, wanted = self.context_per_slot(), self.settings.tokens_each
        if real is not None and real < wanted:  # never a smaller context in silence
            raise EngineRefused(
                "the engine gave {found} tokens of context per conversation, expected "
                "{expected}; lower `n_ctx`.",
                found=real,
                expected=wanted,
            )

    def _answers(self) -> bool:
        """Whether the program answers, waited for until it does; False if its process ends
        before.
        """
        with self.client(timeout=ANSWERS_WITHIN_S) as client:
            while self.process.poll() is None:
                with suppress(httpx.TransportError):
                    if self._listens() and client.get("/health").status_code == 200:
                        return True
                time.sleep(POLL_S)
        return False

    def _listens(self) -> bool:
        """Whether somebody takes calls at the socket. httpx would leave its own end of a refused
        call open.
        """
        with socket.socket(socket.AF_UNIX) as knock:
            return knock.connect_ex(str(self.socket)) == 0

    def _broken_template(self) -> HakaruError | None:
        """The error for a chat template that cannot be used, which is why the engine did not come
        up; None for other reasons.
        """
        self._listener.join(timeout=2)
        found = next((m[1] for line in self.log if (m := _TEMPLATE_ERROR.search(line))), None)
        if found is None:
            return None
        if self.mode.template:
            return Misuse(
                "`chat_template` {name}: cannot be used ({reason}); name another one.",
                name=self.mode.template.name,
                reason=found,
            )
        return ModelDamaged(
            "{path}: its chat template cannot be used ({reason}); go on with another one: "
            "`chat_template` NAME or FILE.",
            path=self.path,
            reason=found,
        )

    def _wait_for_log(self) -> None:
        """Take what the process said while it started. Its log has a thread of its own and may come
        after its `ready`: the slots are the last thing that is told, and a build that does not tell
        them is not waited for longer than a moment.
        """
        until = time.monotonic() + LOG_WITHIN_S
        while True:
            self._start_log = list(self.log)
            if self.context_per_slot() is not None or time.monotonic() > until:
                return
            time.sleep(0.005)

    def death(self) -> EngineDied:
        """The error that says how the process ended, with its last log lines."""
        code = self.process.poll()
        if code is not None:
            self._listener.join(timeout=2)  # its last words may still be on the way
        log = list(self.log)
        return EngineDied(
            "the engine's server process ended ({how}) while it served {path}; its last words: "
            "{last}",
            log=log,
            how=how_it_ended(code),
            path=self.path,
            last=last_words(log),
        )

    def client(self, *, timeout: float = 600) -> httpx.Client:
        """A client that speaks to this process over its socket."""
        transport = httpx.HTTPTransport(uds=str(self.socket), limits=NO_KEEPALIVE)
        return httpx.Client(transport=transport, base_url="http://engine", timeout=timeout)

    def footprint(self) -> Footprint:
        """The buffers that the process really allocated, read back from its log (to 0.01 MiB
        each).
        """
        sizes = buffer_bytes(self._start_log)
        return Footprint(
            weights_bytes=sizes["model"],
            kv_cache_bytes=sizes["KV"],
            compute_bytes=sizes["compute"],
            output_bytes=sizes["output"],
            source="measured",
        )

    def accelerator_bytes(self) -> int:
        """How much of its buffers the process has on accelerators."""
        return accelerator_bytes(self._start_log)

    def backend(self) -> str:
        """What runs the model: `cpu`, or the engine's name for its accelerators, such as CUDA."""
        return backend_of_log(self._start_log)

    def context_per_slot(self) -> int | None:
        """Tokens that one conversation really has, read back from the process's log."""
        return next((int(m[2]) for line in self._start_log if (m := _N_CTX.search(line))), None)

    def peak_rss_bytes(self) -> int | None:
        """The process's peak resident memory so far, mapped weights included; None where the system
        does not tell.
        """
        try:
            status = Path(f"/proc/{self.process.pid}/status").read_text()
        except OSError:
            return None
        peak = re.search(r"VmHWM:\s+(\d+) kB", status)
        return int(peak[1]) * 1024 if peak else None

    def grown_bytes(self) -> int:
        """What the process has kept in context checkpoints so far, at most, by its log (to 0.001
        MiB each).
        """
        return sum(self._checkpoints.values())

    def stop(self) -> None:
        """End the process: in order if it answers, otherwise by force. A model that still loads
        never answers.
        """
        try:
            if self._is_ready:
                if self._binary:
                    self.process.terminate()
                if self.process.stdin:
                    with suppress(BrokenPipeError):  # it is already gone
                        self.process.stdin.close()
                with suppress(subprocess.TimeoutExpired):
                    self.process.wait(timeout=STOP_WITHIN_S)
        finally:  # a second Ctrl-C does not leave it behind
            self.process.kill()
            self.process.wait()
        self._listener.join(timeout=1)
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            if stream:
                with suppress(BrokenPipeError):
                    stream.close()
        if os.path.isdir(self._folder.name):
            self._folder.cleanup()

    def _collect(self, stream: IO[str]) -> None:
        for line in stream:
            self.log.append(line.rstrip("\n"))
            if made := checkpoint_of(line):
                slot, n_bytes = made
                self._checkpoints[slot] = max(n_bytes, self._checkpoints.get(slot, 0))
