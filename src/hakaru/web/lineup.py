"""The models of a server as its pages see them: one that stays, or several that come and go."""

from collections.abc import Awaitable, Callable
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from hakaru.engine.mode import Mode
from hakaru.errors import Misuse
from hakaru.hardware.machine import Machine
from hakaru.language import listed
from hakaru.memory.settings import ContextSettings
from hakaru.models.model import Model
from hakaru.serving.entrance import Entrance
from hakaru.serving.resident import Resident
from hakaru.serving.serve_at import Loaded
from hakaru.serving.serve_several import Several


class Served(Struct, frozen=True, kw_only=True):
    """A model of the server, as it is at this moment."""

    name: str  # by which clients ask for it
    model: Model
    settings: ContextSettings
    mode: Mode
    state: str  # as `/health` tells it
    idle_s: float | None = None  # None: it answers now, is not loaded, or nobody counts
    loaded: Loaded | None  # None: it is not loaded now


class Lineup(Struct, frozen=True, kw_only=True):
    """The models of a server."""

    now: Callable[[], list[Served]]
    machine: Machine
    entrance: Entrance
    free: Callable[[], Machine]  # the machine as it would be without these models
    adopt: Callable[[Path], Awaitable[str]] | None = None  # None: there is one, which stays

    @property
    def are_several(self) -> bool:
        """Whether models come and go."""
        return self.adopt is not None

    @property
    def is_local(self) -> bool:
        """Whether only this machine reaches the server."""
        return self.entrance.is_local

    def named(self, name: str | None) -> Served:
        """The model of this name; None: the first. Raises Misuse."""
        models = self.now()
        for one in models:
            if name in (None, "", one.name):
                return one
        raise Misuse(
            "`model` is '{found}', expected one of {names}.",
            found=name,
            names=listed(one.name for one in models),
        )


def lineup_of(what: Loaded | Several) -> Lineup:
    """The models of a server that serves one, or several."""
    return _of_one(what) if isinstance(what, Loaded) else _of_several(what)


def _of_one(loaded: Loaded) -> Lineup:
    supervisor = loaded.supervisor
    name = supervisor.mode.alias or supervisor.path.stem

    def now() -> list[Served]:
        one = Served(
            name=name,
            model=loaded.fit.model,
            settings=supervisor.settings,
            mode=supervisor.mode,
            state=supervisor.state,
            loaded=loaded,
        )
        return [one]

    return Lineup(
        now=now, machine=loaded.machine, entrance=loaded.entrance, free=lambda: _as_planned(loaded)
    )


def _as_planned(loaded: Loaded) -> Machine:
    """The machine with the memory that the plan of the served model found free."""
    hardware, machine = loaded.fit.hardware, loaded.machine
    memory = machine.memory
    if hardware.ram:
        memory = replace(memory, available_bytes=hardware.ram.usable_bytes)
    return replace(machine, memory=memory, devices=hardware.accelerators)


def _of_several(several: Several) -> Lineup:
    def served(resident: Resident) -> Served:
        loaded = resident.loaded(several.session.machine, several.entrance)
        return Served(
            name=resident.name,
            model=resident.what.model,
            settings=loaded.supervisor.settings if loaded else resident.what.settings,
            mode=loaded.supervisor.mode if loaded else resident.what.mode,
            state=resident.as_json()["status"],
            idle_s=resident.as_json()["idle_s"],
            loaded=loaded,
        )

    return Lineup(
        now=lambda: [served(resident) for resident in several.models.residents],
        machine=several.session.machine,
        entrance=several.entrance,
        free=several.without_them,
        adopt=several.adopt,
    )
