"""The servers of ours that run now: their records, by which other commands find them, and what
they hold of the memory.

A server is a process that serves a model, with the engine as its child; or several models, each
with an engine of its own while it is loaded. A record is a file in the run directory, one for each
model, removed when the process ends.
"""

import json
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import Final, Literal

import psutil
from msgspec import Struct
from msgspec.structs import asdict, replace

from hakaru.engine.mode import Mode
from hakaru.formats.split import part_names
from hakaru.hardware.machine import Machine
from hakaru.memory.settings import ContextSettings
from hakaru.places import log_dir, run_dir, server_records, written_whole

HOST: Final = "127.0.0.1"
MODE: Final = (
    "template", "speculation", "alias", "projector", "sampling", "n_threads", "gpu_layers"
)  # fmt: skip
"""What a server's settings hold of how it is run (`Mode.as_record`)."""


class Deployment(Struct, frozen=True, kw_only=True):
    """One running server and one model of it, as the record in the run directory says."""

    pid: int
    started: float  # when the process began, since a later process may have the same number
    port: int
    model: str
    path: str
    settings: dict[str, object]
    own_bytes: int = 0  # in the engine's memory when it was ready, without the model's file
    grows_bytes: int = 0  # the engine may take so many more with use
    host: str = HOST
    scheme: Literal["http", "https"] = "http"
    key: str = ""  # for commands of this user's, where the server asks for one
    engine: int | None = None  # the process of the engine; None: every child of `pid`
    is_loaded: bool = True  # False: the next request for the model starts its engine
    place: int = 0  # among the models of this server
    backend: str | None = None  # the base URL of the server elsewhere that answers; None: an engine

    @property
    def url(self) -> str:
        """The base URL for OpenAI clients."""
        host = {"0.0.0.0": HOST, "::": "::1"}.get(self.host, self.host)
        return f"{self.scheme}://{f'[{host}]' if ':' in host else host}:{self.port}/v1"

    @property
    def record(self) -> Path:
        """Where the record of this model of the server at this port lies."""
        place = f".{self.place}" if self.place else ""
        return run_dir() / f"serve-{self.port}{place}.json"

    @property
    def n_slots(self) -> int | None:
        """How many conversations are answered at once; None: the record does not tell."""
        n = self.settings.get("n_parallel")
        return n if isinstance(n, int) else None

    def engines(self) -> list[psutil.Process]:
        """The processes of the model's engine; none where it is not loaded or has just died, or
        where the model is elsewhere.
        """
        if not self.is_loaded or self.backend:
            return []
        with suppress(psutil.Error):
            if self.engine is None:
                return psutil.Process(self.pid).children(recursive=True)
            engine = psutil.Process(self.engine)
            return [engine, *engine.children(recursive=True)]
        return []

    def announce(self) -> None:
        """Write the record, so that other commands find the server."""
        with written_whole(self.record) as part:
            part.write_text(json.dumps(asdict(self)), encoding="utf-8")

    @property
    def is_alive(self) -> bool:
        """True while the process of the record runs. A later process with its number does not
        count, and neither does a dead one that nobody has waited for yet (a zombie).
        """
        try:
            process = psutil.Process(self.pid)
            is_it = abs(process.create_time() - self.started) < 1
            return is_it and process.status() != psutil.STATUS_ZOMBIE
        except psutil.Error:
            return False

    def serves(self, path: Path, settings: ContextSettings, mode: Mode) -> bool:
        """True if the server serves this file with these settings, this template and these guesses
        ahead, and no less in private. A setting of None matches every value.
        """
        wanted = {name: value for name, value in asdict(settings).items() if value is not None}
        record = mode.as_record()
        is_run_so = all(self.settings.get(name) == record.get(name) for name in MODE)
        is_as_private = not mode.private or bool(self.settings.get("private"))
        return (
            self.path == str(path)
            and is_run_so
            and is_as_private
            and wanted.items() <= self.settings.items()
        )


def running() -> list[Deployment]:
    """The servers that run now, the latest first, those of several models in the order in which
    these were named; records of dead ones are removed.
    """
    alive = []
    for record in server_records():
        try:
            deployment = Deployment(**json.loads(record.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            continue  # another process removes it, or another version wrote it
        if deployment.is_alive:
            alive.append(deployment)
        else:
            record.unlink(missing_ok=True)
    return sorted(alive, key=lambda d: (-d.started, d.port, d.place))


def log_of(port: int) -> Path:
    """Where the log of the server at `port` lies, also after its end."""
    return log_dir(make=False) / f"serve-{port}.log"


def beside_servers(
    machine: Machine, parts: Collection[Path], *, without: int | None = None
) -> Machine:
    """The machine as if the weights that other servers of ours have mapped were taken. The system
    counts such memory as available, since it could read the weights again from the disk; but then
    those servers would crawl.

    `parts`: the files of the model that is to be loaded; a server of the same files shares its
    weights with the new one. What a server may take later (memory/growth.py) is not free either.
    `without`: the process of a server that is as good as stopped.
    """
    held = sum(
        promised_bytes(server, shares_weights=Path(server.path) in parts)
        for server in running()
        if server.pid != without
    )
    return replace(
        machine,
        memory=replace(
            machine.memory, available_bytes=max(0, machine.memory.available_bytes - held)
        ),
    )


def promised_bytes(server: Deployment, *, shares_weights: bool = False) -> int:
    """Bytes that the system calls available, though the engine of `server` needs them: its weights
    in a mapped file, unless they are shared, and what it may still take with use.
    """
    if not server.is_loaded or server.backend:
        return 0
    grown = max(0, engine_bytes(server) - server.own_bytes)
    weights = 0 if shares_weights else _mapped_bytes(server)
    return weights + max(0, server.grows_bytes - grown)


def engine_bytes(server: Deployment) -> int:
    """Bytes that the engine of `server` has in memory and shares with no file. 0 if the system does
    not tell.
    """
    with suppress(psutil.Error, AttributeError):
        return sum(info.rss - info.shared for info in (e.memory_info() for e in server.engines()))
    return 0


def _mapped_bytes(server: Deployment) -> int:
    """Bytes of the model's file that the engine of `server` has in memory; 0 where the system does
    not tell.
    """
    names = {str(Path(server.path).with_name(name)) for name in part_names(Path(server.path).name)}
    total = 0
    with suppress(psutil.Error, OSError, AttributeError):  # not every system tells what is mapped
        for engine in server.engines():
            total += sum(area.rss for area in engine.memory_maps() if area.path in names)
    return total
