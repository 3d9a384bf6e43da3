"""Several models behind one gateway: each is loaded by the first request that names it, within the
memory that the planner finds.

Loads take turns, since each plan needs the memory that the one before has taken. Where a model does
not fit beside the others, idle ones make room for it, the one that was used longest ago first; one
that answers is never ended, and the request waits for it a while. All requests for a model that is
being loaded wait for the one load.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Final

from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response

from hakaru.errors import HakaruError
from hakaru.planning.to_load import NothingLoaded
from hakaru.serving.forwarding import Forwarding, unless_gone
from hakaru.serving.intake import Refused
from hakaru.serving.kept_engine import KeptEngine
from hakaru.serving.loading_thread import LoadingThread
from hakaru.serving.log_file import LogFile
from hakaru.serving.making_room import Plan, left, planned
from hakaru.serving.refusals import error_response
from hakaru.serving.resident import Resident
from hakaru.session import Session

ROOM_WITHIN_S: Final = 30.0
"""The longest wait for models that answer, until one of them is idle and can make room."""
LOADED_WITHIN_S: Final = 300.0
"""The longest wait of a request for its model. A load that takes longer goes on without it."""
LOOK_S: Final = 0.1


class Change(Struct, frozen=True):
    """What a request changed before it was answered."""

    loaded: str | None = None
    unloaded: tuple[str, ...] = ()

    def told_by(self, answer: Response) -> Response:
        """The answer, with the headers that say so."""
        if self.loaded:
            answer.headers["hakaru-loaded"] = self.loaded
        if self.unloaded:
            answer.headers["hakaru-unloaded"] = ", ".join(self.unloaded)
        return answer


class OnDemand:
    """The models of one server, in the order in which they were named. `memory` is the limit of all
    together. A model that nobody asks for `idle_s` seconds is unloaded; None: only to make room.
    `alone`: how many layers of each model accelerators would hold if it were alone.
    """

    def __init__(
        self,
        residents: Sequence[Resident],
        session: Session,
        log: LogFile,
        *,
        alone: dict[str, int] | None = None,
        memory: str | int | None = None,
        idle_s: float | None = None,
    ) -> None:
        self.by_name = {resident.name: resident for resident in residents}
        self._log, self._memory = log, memory
        self.idle_s, self._alone = idle_s, alone or {}
        self._loads: dict[str, asyncio.Task[Change]] = {}
        self._turn = asyncio.Lock()
        self._loader = LoadingThread(session)
        self._is_stopped = False

    @property
    def residents(self) -> list[Resident]:
        """All models."""
        return list(self.by_name.values())

    @asynccontextmanager
    async def engine(
        self, resident: Resident, request: Request
    ) -> AsyncIterator[tuple[Forwarding[KeptEngine], Change] | None]:
        """A block in which the model is loaded, after a wait if need be; what it is given is None
        if the client left meanwhile. Raises Refused.
        """
        resident.n_wanting += 1
        try:
            change: Change | None = Change()
            if not resident.is_ready:
                change = await unless_gone(request, self._loaded(resident))
            yield (resident.engine, change) if resident.engine and change else None
        finally:
            resident.n_wanting -= 1

    async def adopt(self, make: Callable[[Session], tuple[Resident, int]]) -> str:
        """Take one more model; returns its name. `make` makes it in the thread in which models are
        planned, with what `alone` tells of it. Raises what `make` raises.
        """
        async with self._turn:
            resident, self._alone[resident.name] = await self._loader.run(make)
            self.by_name[resident.name] = resident
        resident.announce()
        return resident.name

    async def unload_idle(self, wanted: Callable[[Resident], bool], why: str) -> None:
        """Unload the models that are wanted, as far as nobody would miss them now."""
        async with self._turn:
            for resident in self.residents:
                if resident.is_idle and wanted(resident):
                    await self._unload(resident, why)

    def stop(self) -> None:
        """End all engines, also the one that is being started."""
        self._is_stopped = True
        for resident in self.residents:
            resident.stop()
        self._loader.end()
        for resident in self.residents:
            resident.deployment.record.unlink(missing_ok=True)

    async def _loaded(self, resident: Resident) -> Change:
        """Return when the model is loaded: with what was changed for it. Raises Refused."""
        load = self._loads.get(resident.name)
        if load is None:
            load = self._loads[resident.name] = asyncio.create_task(self._load(resident))
            load.add_done_callback(partial(self._forget, resident.name))
        try:
            return await asyncio.wait_for(asyncio.shield(load), LOADED_WITHIN_S)
        except TimeoutError as error:
            raise _refused(f"{resident.name} is still being loaded", "loading") from error

    def _forget(self, name: str, load: "asyncio.Task[Change]") -> None:
        del self._loads[name]
        if not load.cancelled():
            load.exception()  # everybody who waits hears it; perhaps nobody does

    async def _load(self, resident: Resident) -> Change:
        async with self._turn:
            if resident.is_ready or self._is_stopped:
                return Change()
            await self._unload(resident, "its engine died")
            plan, gone = await self._with_room(resident)
            memory = left(self._memory, self._loaded_now())
            start = partial(resident.start, (plan.fit, plan.mode), log=self._log, memory=memory)
            try:
                await self._loader.run(start)
            except HakaruError as error:
                self._log.gateway(str(error))
                await asyncio.to_thread(resident.stop)
                raise _failed(resident, error) from error
            self._log.gateway(f"{resident.name} is loaded")
            return Change(resident.name, gone)

    async def _with_room(self, resident: Resident) -> tuple[Plan, tuple[str, ...]]:
        """How the model is loaded now that it has room, and who was unloaded for that. Raises
        Refused.
        """
        began, gone = time.monotonic(), tuple[str, ...]()
        while True:
            plan = await self._plan(resident)
            if plan and not plan.gone:
                return plan, gone
            if plan and all(other.is_idle for other in plan.gone):
                for other in plan.gone:
                    gone += (other.name,)
                    await self._unload(other, f"it makes room for {resident.name}")
            elif not await _somebody_idle(busy := _busy(self.residents), began + ROOM_WITHIN_S):
                raise _no_room(resident, busy)

    def _loaded_now(self) -> list[Resident]:
        return [resident for resident in self.residents if resident.engine]

    async def _plan(self, resident: Resident) -> Plan | None:
        """How it is loaded; None where those that answer leave no room for it."""
        others, n = self._loaded_now(), self._alone.get(resident.name)
        plan = partial(planned, resident.what, others, memory=self._memory, n_gpu_layers=n)
        try:
            return await self._loader.run(plan)
        except NothingLoaded:
            return None
        except HakaruError as error:
            raise _failed(resident, error) from error

    async def _unload(self, resident: Resident, why: str) -> None:
        if resident.engine is None:
            return
        resident.engine = None  # from now on, a request loads it again
        self._log.gateway(f"{resident.name} is unloaded: {why}")
        await asyncio.to_thread(resident.stop)


@asynccontextmanager
async def watching(models: OnDemand) -> AsyncIterator[None]:
    """A block in which models that nobody asks are unloaded."""
    watch = asyncio.create_task(_watch(models, models.idle_s)) if models.idle_s else None
    try:
        yield
    finally:
        if watch:
            watch.cancel()


async def _watch(models: OnDemand, idle_s: float) -> None:
    while True:
        await asyncio.sleep(min(1.0, idle_s / 4))
        await models.unload_idle(lambda r: r.idle_s >= idle_s, f"nobody asked for {idle_s:g} s")


def _busy(residents: Sequence[Resident]) -> list[Resident]:
    return [other for other in residents if other.engine and not other.is_idle]


async def _somebody_idle(busy: list[Resident], until: float) -> bool:
    """Wait until one of the models that answer now is idle. False where none answers, or all still
    do at `until`.
    """
    while busy and time.monotonic() < until:
        await asyncio.sleep(LOOK_S)
        if any(resident.is_idle or not resident.engine for resident in busy):
            return True
    return False


def _no_room(resident: Resident, busy: list[Resident]) -> Refused:
    if names := ", ".join(other.name for other in busy):
        return _refused(
            f"{resident.name} does not fit beside {names}, which answers now; try again", "no_room"
        )
    return _refused(
        f"{resident.name} does not fit in the memory that is free now, since other programs have "
        "taken it; try again",
        "no_room",
    )


def _failed(resident: Resident, error: HakaruError) -> Refused:
    return _refused(f"{resident.name} cannot be loaded: {error}", "load_failed")


def _refused(message: str, code: str) -> Refused:
    return Refused(error_response(503, message, code))
