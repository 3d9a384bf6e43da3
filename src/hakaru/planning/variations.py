"""A model on a machine, at any settings and types: by our arithmetic, or by dry runs where we have
none.

Under a layout, cache and buffers do not depend on the types of the weights, so a dry run of one
type answers for all of them.
"""

from collections.abc import Callable
from typing import Final

from msgspec import Struct, field
from msgspec.structs import replace

from hakaru.errors import EngineRefused, Misuse
from hakaru.hardware.machine import Hardware, named_ram
from hakaru.memory.footprint import Footprint
from hakaru.memory.settings import ContextSettings
from hakaru.models.model import Model, as_preset
from hakaru.planning.checkpoints import with_checkpoints
from hakaru.planning.load import load_of
from hakaru.planning.placement import Task
from hakaru.planning.search import max_context, place
from hakaru.planning.shares import Placement
from hakaru.planning.unmodelled import longest_context
from hakaru.planning.ways_out import Alternative, Change, Outcome, Search, alternatives

SMALLER_PRESETS: Final = ("Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "IQ4_XS", "Q3_K_M", "Q2_K")


class Variations(Struct, frozen=True, kw_only=True):
    """A model on a machine, and the way to judge it at other settings and types."""

    model: Model
    task: Task  # as asked for
    hardware: Hardware
    ask: Callable[[ContextSettings], Footprint] | None = None
    """A dry run of the model at other settings; None where our arithmetic answers."""
    dry_runs: dict[ContextSettings, Footprint] = field(default_factory=dict)  # made so far

    def engine_at(self, settings: ContextSettings) -> Footprint | None:
        """The dry run at `settings`, made once; None where our arithmetic answers."""
        if self.ask is None:
            return None
        if settings not in self.dry_runs:
            self.dry_runs[settings] = self.ask(settings)
        return self.dry_runs[settings]

    def task_at(self, settings: ContextSettings, preset: str | None = None) -> Task:
        """What is to be placed at other settings, or as another type."""
        variant = as_preset(self.model, preset) if preset else None
        load = load_of(variant.loaded, variant.shape.n_layer) if variant else self.task.load
        return replace(self.task, load=load, settings=settings, engine=self.engine_at(settings))

    def placed(self, change: Change) -> Placement:
        """The placement with `change`, and with as many checkpoints as then have room. Raises what
        an impossible setting raises.
        """
        hardware = (
            replace(self.hardware, ram=named_ram(change.ram_bytes))
            if change.ram_bytes
            else self.hardware
        )
        task = self.task_at(change.applied(self.task.settings), change.preset)
        return with_checkpoints(place(task, hardware), task)[0]

    def longest_context(self) -> int:
        """The longest context that fits. Units: tokens."""
        if self.ask is None:
            return max_context(self.task, self.hardware)
        most = (self.task.shape.n_ctx_train or 2**20) * self.task.settings.n_parallel

        def ask(n_ctx: int) -> Footprint:
            footprint = self.engine_at(self.task.settings.with_context(n_ctx))
            assert footprint
            return footprint

        def fits(n_ctx: int, engine: Footprint) -> bool:
            task = replace(
                self.task, settings=self.task.settings.with_context(n_ctx), engine=engine
            )
            return place(task, self.hardware).verdict == "fits"

        return longest_context(ask, fits, most=most)

    def ways_out(self) -> list[Alternative]:
        """What would make it fit."""
        own = self.model.weights_bytes
        presets = [
            preset
            for preset in SMALLER_PRESETS
            if as_preset(self.model, preset).weights_bytes < own
        ]
        settings = self.task.settings
        search = Search(
            settings=settings,
            presets=presets,
            hardware=_with_ram(self.hardware),
            context_step=max(256, settings.n_ctx // 32 // 256 * 256) if self.ask else 256,
        )
        tried: dict[Change, Outcome | None] = {}

        def outcome(change: Change) -> Outcome | None:
            if change not in tried:
                tried[change] = self._outcome(change)
            return tried[change]

        return alternatives(search, outcome)

    def _outcome(self, change: Change) -> Outcome | None:
        try:
            placement = self.placed(change)
        except (Misuse, EngineRefused):  # a cache type whose blocks do not divide the heads
            return None
        return Outcome(
            total_bytes=placement.total_bytes,
            verdict=placement.verdict,
            ram_bytes=placement.ram.needed_bytes,
            gpu_layers=sum(share.layers for share in placement.shares),
        )


def _with_ram(hardware: Hardware) -> str | None:
    """How the named machine is named with RAM beside its cards; None where it has RAM, or was not
    named.
    """
    if not hardware.text or hardware.ram is not None or hardware.is_unified:
        return None
    from hakaru.hardware.named_machine import parse_hardware  # see `here.named_place`

    beside_cards = f"{hardware.text} + {{}}"  # beside sizes alone another size is one more card
    return (
        beside_cards if parse_hardware(beside_cards.format("16GiB")).ram else f"{beside_cards} RAM"
    )
