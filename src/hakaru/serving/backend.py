"""One backend: a server elsewhere that answers for the gateway, and whether it still does.

Its own word that it is healthy says only that somebody listens: vLLM's `/health` stayed 200 for as
long as it was watched after a node of it was lost, while no request came back. So a backend is
ready when it has given a token, and lost when it has given none for `silent_s` seconds although one
was asked for. Everything that comes of its answers counts as a token, so that who is busy is not
asked on top; where it answers nobody who streams, its own counts of tokens show that it works. What
waits for a lost backend is told at once.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final, Literal, cast, get_args

from starlette.responses import Response

from hakaru.engine.mode import Gives
from hakaru.errors import EngineDied
from hakaru.serving.backend_address import BackendAddress
from hakaru.serving.backend_questions import (
    ASSUMED_SLOTS,
    GIVEN_AT,
    Told,
    give_token,
    read_models,
    wait_for_evidence,
)
from hakaru.serving.engine_client import EngineClient, EngineLost
from hakaru.serving.forwarding import Forwarding
from hakaru.serving.kept_engine import STOPPED
from hakaru.serving.limits import ELSEWHERE
from hakaru.serving.upstream_errors import of_backend

QUIET_S: Final = 5.0
"""How long a backend that has requests may be silent until it is asked for a token."""
IDLE_S: Final = 30.0
"""How often a backend without requests is asked for a token."""
AGAIN_S: Final = 5.0
"""How often a lost backend is asked whether it is back."""
LOOK_S: Final = 0.2
SILENT_S: Final = 30.0


class Backend:
    """The server at `address`. `on_event` hears when it is lost and back. `queue` requests may wait
    for it.
    """

    def __init__(
        self,
        address: BackendAddress,
        *,
        silent_s: float = SILENT_S,
        queue: int | None = None,
        on_event: Callable[[str], None] = lambda sentence: None,
    ) -> None:
        self.address, self._silent_s, self._on_event = address, silent_s, on_event
        self.state: Literal["loading", "ready", "lost", "stopped"] = "loading"
        self.why_lost: str | None = None
        self.is_draining = False
        self.told = Told()
        self.n_asked = self.n_failed = 0
        self._client = EngineClient(address)
        self._endpoint: str | None = None  # that gave a token
        self._failed = asyncio.Event()
        self._checked_at = 0.0
        self.engine = Forwarding(self, ELSEWHERE, queue=queue, translate=self._translated)

    @property
    def name(self) -> str:
        """What it is called: its base URL."""
        return self.address.url

    @property
    def n_slots(self) -> int:
        """How many conversations it answers at once, as far as it is known."""
        return self.told.n_slots or ASSUMED_SLOTS

    @property
    def llama_cpp_model(self) -> str | None:
        """What its first model is called, if it is a llama.cpp server."""
        return next(iter(self.told.models), None) if self.told.is_llama_cpp else None

    def as_json(self) -> dict[str, Any]:
        """What `/status` tells of it."""
        return {
            "url": self.name, "is_on_this_machine": self.address.is_local,
            "status": "draining" if self.is_draining else self.state, "why_lost": self.why_lost,
            "models": list(self.told.models), "kind": self.told.owned_by or None,
            "n_slots": self.told.n_slots, "n_ctx": self.told.n_ctx,
            **self.engine.in_flight.as_json(),
            "answered": self.engine.in_flight.n_answered, "errors": self.n_failed,
            "mean_answer_s": self.engine.in_flight.mean_s,
        }  # fmt: skip

    def gives(self, model: str) -> Gives:
        """What one of its models gives: by its own word, or by the endpoint that gave a token."""
        told = self.told.models[model].get("gives")
        seen = GIVEN_AT.get(self._endpoint or "", "text")
        return cast("Gives", told) if told in get_args(Gives) else seen

    def client(self) -> EngineClient:
        """Who asks it. Raises EngineDied where the gateway ends."""
        if self.state == "stopped":
            raise EngineDied("the engine is not running.", log=[])
        return self._client

    def broken_off(self, how: str) -> tuple[str, str]:
        """Message and code for an answer that broke off."""
        if self.state == "stopped":
            return STOPPED
        self.failed()
        return f"the backend ended in the middle of the answer ({how})", "backend_lost"

    def failed(self) -> None:
        """Count an error, and have it asked for a token soon."""
        self.n_failed += 1
        self._failed.set()

    def lose(self, why: str) -> None:
        """Send it nothing more until it gives a token. What waits for it is told, unless something
        came of it just now.
        """
        if self.state == "stopped":
            return
        if self.state != "lost":
            self._on_event(f"{self.name} is lost: {why}")
        self.state, self.why_lost = "lost", why
        if time.monotonic() - self._client.heard_at > self._silent_s:
            self._client.give_up(why)

    def stop(self) -> None:
        """End everything that is on its way; in the thread of the event loop."""
        self.state = "stopped"
        self._client.give_up("stopped")

    async def watch(self) -> None:
        """Ask for a token whenever it is time to."""
        while True:
            try:
                await asyncio.wait_for(self._failed.wait(), LOOK_S)
            except TimeoutError:
                if not self._is_due():
                    continue
            await self.check()

    def _is_due(self) -> bool:
        silent_s = time.monotonic() - max(self._client.heard_at, self._checked_at)
        if self.state == "lost":
            return silent_s > AGAIN_S
        return silent_s > (IDLE_S if self.engine.in_flight.is_idle else QUIET_S)

    async def check(self) -> None:
        """Ask for its models and a token; `state` says afterwards whether it gave one."""
        is_doubted = self._failed.is_set()
        self._failed.clear()
        try:
            asked = asyncio.create_task(self._asked(is_doubted=is_doubted))
            await wait_for_evidence(self._client, asked, lambda: self.told, self._silent_s)
        except EngineLost as error:
            self.lose(str(error))
        else:
            if self.state == "lost":
                self._on_event(f"{self.name} is back")
            if self.state != "stopped":
                self.state, self.why_lost = "ready", None
        finally:
            self._checked_at = time.monotonic()

    async def _asked(self, *, is_doubted: bool) -> None:
        """Read what it has, and have it give a token. Raises EngineLost.

        A token takes a slot of llama.cpp's, and with it the cache of a conversation that may go on.
        While such a backend is ready and nobody asks, its main loop's answer is enough: where its
        model is gone, so is its process.
        """
        self.told = await read_models(self._client)
        self.engine.in_flight.n_slots = self.n_slots
        is_idle = self.state == "ready" and self.engine.in_flight.is_idle
        if self.told.is_llama_cpp and is_idle and not is_doubted:
            with suppress(ValueError):
                if await self._client.told("/slots") is not None:
                    return
        if model := self.told.loaded:
            self._endpoint = await give_token(self._client, model, self._endpoint)

    def _translated(self, status: int, body: bytes, headers: Mapping[str, str]) -> Response:
        answer = of_backend(status, body, headers, is_llama_cpp=self.told.is_llama_cpp)
        if answer.status_code >= 500:
            self.failed()
        return answer
