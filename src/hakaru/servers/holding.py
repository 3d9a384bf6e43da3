"""Who holds what now: each model of each server of ours, and who else has memory on a GPU."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Final

import httpx
import psutil
from msgspec import Struct

from hakaru.hardware.accelerators import GpuUser, nvidia_users
from hakaru.servers import Deployment, running
from hakaru.servers.asking import client_of

ASK_WITHIN_S: Final = 3.0
NOT_LOADED: Final = "unloaded"
NO_ANSWER: Final = "no answer"


class Holding(Struct, frozen=True, kw_only=True):
    """A model of a server, and what it does and holds now."""

    server: Deployment
    state: str  # ready, loading, silent, failed, stopped, unloaded, lost, draining, "no answer"
    n_answering: int | None  # requests that the engine works on; None: nobody told
    n_waiting: int | None  # requests that wait for their turn
    idle_s: float | None  # seconds since the last answer ended; None: it answers, or nobody told
    ram_bytes: int | None  # of the engine, weights in a file included; None: nobody told
    gpus: tuple[GpuUser, ...]  # what the engine has on each GPU
    n_answered: int | None = None  # requests that a backend has answered; None: it is none
    n_failed: int | None = None  # answers of a backend that failed or broke off
    is_on_this_machine: bool | None = None  # the backend; None: it is none, or nobody told

    def as_json(self) -> dict[str, object]:
        """The model as it stands in `--json`."""
        server, n_ctx = self.server, self.server.settings.get("n_ctx")
        ram = [{"device": "RAM", "bytes": self.ram_bytes}]
        gpus = [{"device": u.device, "number": u.number, "bytes": u.bytes} for u in self.gpus]
        return {
            "name": server.model, "url": server.url, "port": server.port, "path": server.path,
            "pid": server.pid, "engine_pids": [engine.pid for engine in server.engines()],
            "state": self.state, "memory": ram + gpus, "n_ctx": n_ctx, "n_slots": server.n_slots,
            "n_answering": self.n_answering, "n_waiting": self.n_waiting, "idle_s": self.idle_s,
            "n_answered": self.n_answered, "n_failed": self.n_failed,
            "backend": server.backend, "is_on_this_machine": self.is_on_this_machine,
            "started": datetime.fromtimestamp(server.started, UTC).isoformat(timespec="seconds"),
        }  # fmt: skip


class Stranger(Struct, frozen=True, kw_only=True):
    """A process that is no server of ours and has memory on a GPU."""

    user: GpuUser
    name: str | None  # of its program; None: the system does not tell

    def as_json(self) -> dict[str, object]:
        """The process as it stands in `--json`."""
        user = self.user
        return {
            "name": self.name, "pid": user.pid, "device": user.device, "number": user.number,
            "bytes": user.bytes,
        }  # fmt: skip


def who_holds_what() -> tuple[list[Holding], list[Stranger]]:
    """The models of the servers that run, the latest first, and the others on the GPUs."""
    servers, users = running(), nvidia_users()
    told: dict[int, dict[str, Any]] = {}
    if ports := {server.port: server for server in servers}:
        with ThreadPoolExecutor(len(ports)) as pool:
            told = dict(zip(ports, pool.map(_told, ports.values()), strict=True))
    holdings = [_holding(server, told[server.port], users) for server in servers]
    ours = {user.pid for holding in holdings for user in holding.gpus}
    strangers = [Stranger(user=u, name=_program(u.pid)) for u in users if u.pid not in ours]
    return holdings, strangers


def _told(server: Deployment) -> dict[str, Any]:
    """What a server says of itself, by the name of each model; empty where it says nothing."""
    url = f"{server.url.removesuffix('/v1')}{'/status' if server.backend else '/health'}"
    with suppress(httpx.HTTPError, ValueError), client_of(server, within_s=ASK_WITHIN_S) as client:
        answer = client.get(url).json()
        return answer if isinstance(answer, dict) else {}
    return {}


def _mine(server: Deployment, told: dict[str, Any]) -> dict[str, Any]:
    """What a server says of this model, or of this backend."""
    if server.backend:
        backends: list[dict[str, Any]] = told.get("backends", [])
        return next((one for one in backends if one["url"] == server.backend), {})
    models = told.get("models")
    mine: dict[str, Any] = models.get(server.model, {}) if isinstance(models, dict) else told
    return mine


def _holding(server: Deployment, told: dict[str, Any], users: list[GpuUser]) -> Holding:
    mine = _mine(server, told)
    engines = server.engines()
    pids = {engine.pid for engine in engines}
    return Holding(
        server=server,
        state=mine.get("status", NO_ANSWER),
        n_answering=mine.get("answering"),
        n_waiting=mine.get("waiting"),
        idle_s=mine.get("idle_s"),
        ram_bytes=None if server.backend else _resident(engines),
        n_answered=mine.get("answered"),
        n_failed=mine.get("errors"),
        is_on_this_machine=mine.get("is_on_this_machine"),
        gpus=tuple(user for user in users if user.pid in pids),
    )


def _resident(engines: list[psutil.Process]) -> int | None:
    with suppress(psutil.Error):
        return sum(engine.memory_info().rss for engine in engines)
    return None


def _program(pid: int) -> str | None:
    with suppress(psutil.Error):
        return psutil.Process(pid).name()
    return None
