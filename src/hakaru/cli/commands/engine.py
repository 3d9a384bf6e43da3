"""`hakaru engine list | build | use`: the builds of llama.cpp that are here, a native one, and
which is used.
"""

import os
import platform
import sys
from typing import Any, Final

from hakaru.cli.options import EngineBuildOptions, EngineListOptions, EngineUseOptions
from hakaru.cli.output import Watching, next_step, print_json, print_table, print_text
from hakaru.engine.binary import check_options, version_of_binary
from hakaru.engine.builds import OVERRIDE, Build, Selection, named, natives, selection, use, wheel
from hakaru.engine.devices import EngineDevice, devices_of
from hakaru.engine.native import build_native
from hakaru.engine.server_flags import every_flag
from hakaru.errors import EngineError, EngineMissing
from hakaru.hardware.machine import Machine
from hakaru.hardware.probe import probe_machine
from hakaru.language import say

BACKEND_OF_VENDOR: Final = {"nvidia": "cuda", "amd": "hip", "intel": "vulkan"}


def list_engines(options: EngineListOptions) -> int:
    """Print every build and which is used. Returns 6 where what is used is not there."""
    chosen, trouble = None, None
    try:
        chosen = selection()
    except EngineError as error:
        trouble = error
    builds = [*_wheels(), *natives()]
    if chosen and chosen.server.name not in {build.name for build in builds}:
        builds.append(chosen.server)
    if options.json:
        print_json({
            "schema": "hakaru.engines/1", "lab": chosen and chosen.lab.name,
            "server": chosen and chosen.server.name, "chosen_by": _chosen_by(),
            "builds": [_as_json(build, chosen) for build in builds],
        })  # fmt: skip
    else:
        _print(builds, chosen)
    if trouble:
        print(f"hakaru: {trouble}", file=sys.stderr)
    return trouble.exit_code if trouble else 0


def build(options: EngineBuildOptions) -> int:
    """Make a native build and, unless `no_use`, use it from now on."""
    with Watching(quiet=options.json) as watch:
        made = build_native(options.backend or backend_for(probe_machine()), watch)
    chosen = None if options.no_use else use(str(made.library))
    if options.json:
        print_json(
            {"schema": "hakaru.engine/1", "used": not options.no_use, **_as_json(made, chosen)}
        )
        return 0
    print_text(say("{name} is ready: {path}", name=made.name, path=made.library))
    if chosen:
        _print_use(chosen)
    else:
        next_step(f"hakaru engine use {made.name}")
    return 0


def use_engine(options: EngineUseOptions) -> int:
    """Use the build `name` from now on."""
    build = named(options.name)
    if build.library is None and build.server:
        version_of_binary(build.server)
        check_options(build.server, every_flag())
    chosen = use(options.name)
    if options.json:
        print_json({"schema": "hakaru.engine/1", "used": True, **_as_json(build, chosen)})
    else:
        _print_use(chosen)
    return 0


def backend_for(machine: Machine) -> str:
    """The backend that uses this machine's GPU, or `cpu` without one that people install an engine
    for.
    """
    if machine.system == "Darwin" and platform.machine() == "arm64":
        return "metal"
    vendors = [device.vendor for device in machine.accelerators] if machine.has_gpu else []
    return next(
        (BACKEND_OF_VENDOR[vendor] for vendor in vendors if vendor in BACKEND_OF_VENDOR), "cpu"
    )


def _wheels() -> list[Build]:
    try:
        return [wheel()]
    except EngineMissing:
        return []


def _chosen_by() -> str | None:
    """The environment variable that decides, None for the person's choice."""
    return OVERRIDE if os.environ.get(OVERRIDE) else None


def _devices(build: Build) -> list[EngineDevice] | None:
    """None where the build cannot be asked."""
    try:
        return None if build.mismatch else devices_of(build)
    except EngineError:
        return None


def _version(build: Build) -> str | None:
    try:
        return (
            version_of_binary(build.server)
            if build.version is None and build.server
            else build.version
        )
    except EngineError:
        return None


def _used_for(build: Build, chosen: Selection | None) -> list[str]:
    pairs = [("lab", chosen.lab), ("server", chosen.server)] if chosen else []
    return [part for part, used in pairs if used.identity == build.identity]


def _as_json(build: Build, chosen: Selection | None) -> dict[str, Any]:
    devices = _devices(build)
    return {
        "name": build.name,
        "identity": build.identity,
        "version": _version(build),
        "backend": build.backend,
        "devices": None if devices is None else [device.as_json() for device in devices],
        "library": build.library and str(build.library),
        "llama_server": build.server and str(build.server),
        "llama_quantize": build.quantizer and str(build.quantizer),
        "rpc_server": build.rpc_server and str(build.rpc_server),
        "usable": build.mismatch is None,
        "used_for": _used_for(build, chosen),
    }


def _print(builds: list[Build], chosen: Selection | None) -> None:
    rows = [
        [
            build.name,
            _version(build) or "-",
            build.backend or "-",
            _named(_devices(build)),
            _abilities(build),
            _state(build, chosen),
        ]
        for build in builds
    ]
    header = [
        say("engine"),
        say("version"),
        say("backend"),
        say("accelerators"),
        say("can"),
        say("used for"),
    ]
    print_table(header, rows, left=len(header))
    if name := _chosen_by():
        print_text(say("{name} in the environment decides which is used.", name=name))
    if not any(build.name.startswith("native-") for build in builds):
        next_step("hakaru engine build")


def _named(devices: list[EngineDevice] | None) -> str:
    return (
        "?" if devices is None else ", ".join(f"{d.name} {d.description}" for d in devices) or "-"
    )


def _abilities(build: Build) -> str:
    parts = {
        say("measure"): build.library is not None,
        say("serve"): True,
        "llama-quantize": build.quantizer is not None,
        "RPC": build.rpc_server is not None,
    }
    return ", ".join(name for name, can in parts.items() if can)


def _state(build: Build, chosen: Selection | None) -> str:
    if build.mismatch:
        return say("made for {found}", found=build.mismatch[0])
    names = {"lab": say("measuring"), "server": say("serving")}
    return ", ".join(names[part] for part in _used_for(build, chosen)) or "-"


def _print_use(chosen: Selection) -> None:
    print_text(
        say(
            "Measured with {lab}, served with {server}; what another build measured is not taken "
            "for theirs.",
            lab=chosen.lab.name,
            server=chosen.server.name,
        )
    )
    if _chosen_by():
        print_text(say("{name} in the environment decides which is used.", name=OVERRIDE))
    next_step("hakaru up")
