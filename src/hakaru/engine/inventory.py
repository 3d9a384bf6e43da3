"""The builds of llama.cpp that are here, what each can do, and which of them is used."""

import os
from collections.abc import Sequence
from typing import Any, Final

from msgspec import Struct

from hakaru.engine.binary import version_of_binary
from hakaru.engine.builds import OVERRIDE, Build, Selection, natives, selection, wheel
from hakaru.engine.devices import EngineDevice, devices_of
from hakaru.errors import EngineError, EngineMissing

USED_FOR: Final = ("lab", "server")


class BuildFacts(Struct, frozen=True, kw_only=True):
    """One build, and what it says of itself."""

    build: Build
    version: str | None  # None: the program does not say
    devices: Sequence[EngineDevice] | None  # None: the build cannot be asked
    used_for: Sequence[str]  # of USED_FOR

    def as_json(self) -> dict[str, Any]:
        """The entry of `builds` in `hakaru engine list --json`."""
        build, devices = self.build, self.devices
        return {
            "name": build.name,
            "identity": build.identity,
            "version": self.version,
            "backend": build.backend,
            "devices": None if devices is None else [device.as_json() for device in devices],
            "library": build.library and str(build.library),
            "llama_server": build.server and str(build.server),
            "llama_quantize": build.quantizer and str(build.quantizer),
            "rpc_server": build.rpc_server and str(build.rpc_server),
            "usable": build.mismatch is None,
            "used_for": list(self.used_for),
        }


class Inventory(Struct, frozen=True, kw_only=True):
    """Every build that is here."""

    builds: Sequence[BuildFacts]
    chosen: Selection | None  # None if a chosen build is not here
    trouble: EngineError | None  # why `chosen` is None

    def as_json(self) -> dict[str, Any]:
        """The object of `hakaru engine list --json`."""
        return {
            "schema": "hakaru.engines/1",
            "lab": self.chosen and self.chosen.lab.name,
            "server": self.chosen and self.chosen.server.name,
            "chosen_by": chosen_by(),
            "builds": [facts.as_json() for facts in self.builds],
        }


def inventory() -> Inventory:
    """Look for every build, and ask each what it is."""
    chosen, trouble = None, None
    try:
        chosen = selection()
    except EngineError as error:
        trouble = error
    builds = [*_wheels(), *natives()]
    if chosen and chosen.server.name not in {build.name for build in builds}:
        builds.append(chosen.server)
    facts = [facts_of(build, chosen) for build in builds]
    return Inventory(builds=facts, chosen=chosen, trouble=trouble)


def facts_of(build: Build, chosen: Selection | None) -> BuildFacts:
    """What `build` is, and what it is used for by the selection `chosen`."""
    used = {name: getattr(chosen, name) for name in USED_FOR} if chosen else {}
    return BuildFacts(
        build=build,
        version=_version(build),
        devices=_devices(build),
        used_for=[name for name, other in used.items() if other.identity == build.identity],
    )


def chosen_by() -> str | None:
    """The environment variable that decides which build is used; None for the person's choice."""
    return OVERRIDE if os.environ.get(OVERRIDE) else None


def _wheels() -> list[Build]:
    try:
        return [wheel()]
    except EngineMissing:
        return []


def _devices(build: Build) -> list[EngineDevice] | None:
    try:
        return None if build.mismatch else devices_of(build)
    except EngineError:
        return None


def _version(build: Build) -> str | None:
    if build.version is not None or build.server is None:
        return build.version
    try:
        return version_of_binary(build.server)
    except EngineError:
        return None
