"""Keeping the engine alive: a server process that dies is started again, and says why it died.

The supervisor owns one `EngineServer` at a time. A thread waits for the end of that process. Unless
`stop` ended it, a new process is started after a pause, which doubles. After five deaths within a
minute the supervisor gives up and keeps the reason. An engine is ready when it has given one token.
"""

import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Final, Literal

from hakaru.engine.early import EarlyEngine
from hakaru.engine.first_answer import give_first_answer
from hakaru.engine.mode import Mode
from hakaru.engine.server import EngineServer
from hakaru.engine.server_log import ServerLog
from hakaru.errors import EngineDied, HakaruError, WorkerLost
from hakaru.memory.settings import ContextSettings

State = Literal["loading", "ready", "failed", "stopped"]
DEATHS_ALLOWED: Final = 5  # within WITHIN_S; with the fifth the supervisor gives up
WITHIN_S: Final = 60.0
FIRST_PAUSE_S: Final = 0.2
"""The pause before the second start. The pause doubles with every death."""


class Supervisor:
    """One model, served until `stop`. `on_event` hears about deaths, in one sentence each, and
    `on_line` what the engine says. `before_restart` may raise a HakaruError, why the engine is not
    to be started again; a WorkerLost is final. `early` may run already when the engine is started.
    `on_again` is called when another engine is ready, `on_failed` when none will be.
    """

    def __init__(
        self,
        path: Path,
        settings: ContextSettings,
        mode: Mode | None = None,
        *,
        on_event: Callable[[str], None] = lambda text: None,
        on_line: Callable[[str], None] = lambda line: None,
        before_restart: Callable[[], object] = lambda: None,
        early: EarlyEngine | None = None,
    ) -> None:
        self.path, self.settings, self.mode = path, settings, mode or Mode()
        self._on_event, self._on_line = on_event, on_line
        self._before_restart, self._early = before_restart, early
        self.on_again: Callable[[], None] = lambda: None
        self.on_failed: Callable[[], None] = lambda: None
        self.state: State = "loading"
        self.restarts = 0
        self.gave_up = False
        self.death: EngineDied | None = None
        self._deaths: deque[float] = deque(maxlen=DEATHS_ALLOWED)
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._server: EngineServer | None = None
        self._thread: threading.Thread | None = None

    @property
    def server(self) -> EngineServer:
        """The process that serves now. Raises EngineDied when there is none."""
        if self._server is None or self.state in {"failed", "stopped"}:
            raise self.death or EngineDied("the engine is not running.", log=[])
        return self._server

    def start(self, *, meanwhile: Callable[[], None] = lambda: None) -> None:
        """Start the engine and return when it answers. `meanwhile` is called while it loads.

        Raises EngineDied or EngineRefused if it does not come up the first time.
        """
        if not self._comes_up(meanwhile):
            raise self.death or EngineDied("the engine is not running.", log=[])
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the engine for good, at once also where it is just being started again."""
        with self._lock:
            was_ready, self.state = self.state == "ready", "stopped"
            server = self._server
            self._stopped.set()
        if server and was_ready:
            server.stop()
        elif server:
            server.kill()  # its thread sees the end, and tidies up
        if self._thread:
            self._thread.join(timeout=1)

    def _new(self) -> EngineServer:
        return EngineServer(
            self.path, self.settings, self.mode, ServerLog(self._on_line), self._early
        )

    def _watch(self) -> None:
        while self._server is not None:
            self._server.process.wait()
            with self._lock:
                if self.state == "stopped":
                    return
                self.state = "loading"
            self.death = self._server.death()
            self._server.stop()
            self._on_event(str(self.death))
            if not self._start_again():
                return

    def _start_again(self) -> bool:
        """Start the engine until it comes up: True. False if the supervisor was stopped or gives
        up.
        """
        while True:
            self._deaths.append(time.monotonic())
            if (
                len(self._deaths) == DEATHS_ALLOWED
                and self._deaths[-1] - self._deaths[0] < WITHIN_S
            ):
                return self._give_up()
            if self._stopped.wait(FIRST_PAUSE_S * 2 ** (len(self._deaths) - 1)):
                return False
            try:
                self._before_restart()
                if not self._comes_up():
                    return False
            except WorkerLost as error:
                self.death = error
                return self._give_up()
            except (HakaruError, OSError) as error:
                if self._stopped.is_set():
                    return False
                self.death = (
                    error
                    if isinstance(error, EngineDied)
                    else EngineDied("{reason}", log=[], reason=error)
                )
                self._on_event(str(self.death))
                continue
            self.restarts += 1
            self.on_again()
            return True

    def _give_up(self) -> bool:
        self.state, self.gave_up = "failed", True
        self.on_failed()
        return False

    def _comes_up(self, meanwhile: Callable[[], None] = lambda: None) -> bool:
        """Start a process, which `stop` can end while it loads. False if the supervisor was
        stopped.
        """
        server = self._new()
        with self._lock:
            if self._stopped.is_set():
                server.stop()
                return False
            self._server = server
        _answering(server, meanwhile)
        with self._lock:
            if self._stopped.is_set():
                server.stop()
                return False
            self.state = "ready"
        return True


def _answering(server: EngineServer, meanwhile: Callable[[], None]) -> None:
    """Return when the server has given its first answer; it is ended where it gives none."""
    try:
        meanwhile()
        server.wait_ready()
        give_first_answer(server)
    except BaseException:
        server.stop()
        raise
