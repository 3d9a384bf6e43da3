"""`hakaru engine list | build | use`: the builds of llama.cpp that are here, a native one, and
which is used.
"""

from dataclasses import dataclass

from hakaru.cli.output import next_step, print_json, print_text, warn
from hakaru.cli.progress import Watching
from hakaru.cli.tell.engine import print_inventory, print_use
from hakaru.cli.wrapping import whole
from hakaru.engine.binary import check_options, version_of_binary
from hakaru.engine.builds import named, use
from hakaru.engine.inventory import facts_of, inventory
from hakaru.engine.native import backend_for, build_native
from hakaru.engine.server_flags import every_flag
from hakaru.hardware.probe import probe_machine
from hakaru.language import say


@dataclass(frozen=True, kw_only=True)
class EngineListOptions:
    """`hakaru engine list`."""

    json: bool


@dataclass(frozen=True, kw_only=True)
class EngineBuildOptions:
    """`hakaru engine build`."""

    backend: str | None  # None: that of this machine's GPU
    no_use: bool
    json: bool


@dataclass(frozen=True, kw_only=True)
class EngineUseOptions:
    """`hakaru engine use`."""

    name: str
    json: bool


def list_engines(options: EngineListOptions) -> int:
    """Print every build and which is used. Returns 6 where what is used is not there."""
    builds = inventory()
    if options.json:
        print_json(builds.as_json())
    else:
        print_inventory(builds)
    if builds.trouble:
        warn(str(builds.trouble))
    return builds.trouble.exit_code if builds.trouble else 0


def build(options: EngineBuildOptions) -> int:
    """Make a native build and, unless `no_use`, use it from now on."""
    with Watching(quiet=options.json) as watch:
        made = build_native(options.backend or backend_for(probe_machine()), watch)
    chosen = None if options.no_use else use(str(made.library))
    if options.json:
        facts = facts_of(made, chosen).as_json()
        print_json({"schema": "hakaru.engine/1", "used": not options.no_use, **facts})
        return 0
    print_text(say("{name} is ready: {path}", name=made.name, path=whole(str(made.library))))
    if chosen:
        print_use(chosen)
    else:
        next_step(f"hakaru engine use {made.name}")
    return 0


def use_engine(options: EngineUseOptions) -> int:
    """Use the build `name` from now on."""
    wanted = named(options.name)
    if wanted.library is None and wanted.server:
        version_of_binary(wanted.server)
        check_options(wanted.server, every_flag())
    chosen = use(options.name)
    if options.json:
        facts = facts_of(wanted, chosen).as_json()
        print_json({"schema": "hakaru.engine/1", "used": True, **facts})
    else:
        print_use(chosen)
    return 0
