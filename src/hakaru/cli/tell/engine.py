"""What `hakaru engine list | build | use` says."""

from collections import Counter
from collections.abc import Sequence
from typing import Final

from hakaru.cli.output import next_step, print_text, show_table
from hakaru.cli.table import Cell, Column, Table
from hakaru.engine.builds import Build, Selection
from hakaru.engine.devices import EngineDevice
from hakaru.engine.inventory import BuildFacts, Inventory, chosen_by
from hakaru.language import listed, say

UNKNOWN: Final = "?"


def print_inventory(inventory: Inventory) -> None:
    """One row for each build."""
    show_table(inventory_table(inventory))
    _print_override()
    has_native = any(facts.build.name.startswith("native-") for facts in inventory.builds)
    next_step("hakaru up" if has_native else "hakaru engine build")


def inventory_table(inventory: Inventory) -> Table:
    """One row for each build; in a narrow terminal the devices, and what it can do, stand below."""
    columns = [
        Column(say("engine"), left=True),
        Column(say("version"), left=True),
        Column(say("backend"), left=True, below=2),
        Column(say("accelerators"), left=True, below=2, shortens=(1,)),
        Column(say("can"), left=True, below=1),
        Column(say("used for"), left=True),
    ]
    return Table(columns, [_row(facts) for facts in inventory.builds])


def print_use(chosen: Selection) -> None:
    """What is used from now on."""
    print_text(
        say(
            "Measured with {lab}, served with {server}; what another build measured is not taken "
            "for theirs.",
            lab=chosen.lab.name,
            server=chosen.server.name,
        )
    )
    _print_override()
    next_step("hakaru up")


def _print_override() -> None:
    if name := chosen_by():
        print_text(say("{name} in the environment decides which is used.", name=name))


def _row(facts: BuildFacts) -> list[str | Cell]:
    build = facts.build
    return [
        build.name, facts.version or "-", build.backend or "-", _names(facts.devices),
        _abilities(build), _state(facts),
    ]  # fmt: skip


def _names(devices: Sequence[EngineDevice] | None) -> Cell:
    if not devices:
        return Cell(UNKNOWN if devices is None else "-")
    kinds = Counter(d.description for d in devices)
    return Cell(
        listed(f"{d.name} {d.description}" for d in devices),
        listed(f"{n}× {kind}" for kind, n in kinds.items()),
    )


def _abilities(build: Build) -> str:
    parts = {
        say("measure"): build.library is not None,
        say("serve"): True,
        "llama-quantize": build.quantizer is not None,
        "RPC": build.rpc_server is not None,
    }
    return listed(name for name, can in parts.items() if can)


def _state(facts: BuildFacts) -> str:
    if facts.build.mismatch:
        return say("made for {found}", found=facts.build.mismatch[0])
    names = {"lab": say("measuring"), "server": say("serving")}
    return listed(names[part] for part in facts.used_for) or "-"
