"""The answer of `fit`: whether a model fits, what it takes of each device, and what would help."""

from typing import Final

from msgspec import Struct
from msgspec.structs import asdict

from hakaru.errors import ModelUnknown
from hakaru.hardware.machine import Hardware
from hakaru.language import spelled
from hakaru.memory.footprint import Footprint
from hakaru.memory.formula import formula_gigabytes
from hakaru.memory.growth import checkpoint_bytes, requests_bytes
from hakaru.memory.settings import ContextSettings
from hakaru.memory.terms import Term
from hakaru.models.model import Model
from hakaru.models.sources.found import Found
from hakaru.planning.checkpoints import Growth
from hakaru.planning.explain import explain_placement
from hakaru.planning.extras import Extra
from hakaru.planning.joined import Joined
from hakaru.planning.learned import Margin
from hakaru.planning.load import load_of
from hakaru.planning.placement import Task
from hakaru.planning.shares import FitVerdict, Placement
from hakaru.planning.speed_figures import SpeedPrediction
from hakaru.planning.ways_out import Alternative

GROWTH: Final = ("checkpoints_bytes", "prompts_bytes", "requests_bytes")
"""Parts of the growth that stand among the parts of the footprint."""


class Fit(Struct, frozen=True, kw_only=True):
    """Whether a model fits, and where it goes."""

    model: Model  # at the preset that was asked for
    settings: ContextSettings  # with the context checkpoints that go in
    hardware: Hardware  # where the model was placed
    computed: Footprint | None  # by our arithmetic; None if not asked for, or not modelled
    dry_run: Footprint | None  # by the engine; None if not asked for
    placement: Placement  # what lies on which device
    verdict: FitVerdict
    margin: Margin  # the part of the memory that is left free, since predictions err
    alternatives: tuple[Alternative, ...]  # ways out, where it does not simply fit
    max_context: int | None  # tokens, the most that fit; None if not asked for
    extras: tuple[Extra, ...] = ()  # what is loaded beside the model
    is_modelled: bool = True  # False: caches and compute of a device are assumed
    joined: Joined | None = None  # the nodes of a cluster; None: one machine
    speed: SpeedPrediction | None = None  # None: not asked for
    found: Found | None = None  # how the model was found, where it was named by a text

    @property
    def best(self) -> Footprint:
        """The footprint to trust: the engine's own where it was asked."""
        best = self.dry_run or self.computed
        assert best is not None  # one of the two was asked for
        return best

    @property
    def total_bytes(self) -> int:
        """What the model needs in all, where it was placed."""
        return self.placement.total_bytes

    @property
    def growth(self) -> Growth:
        """The memory that comes while the server is used; a part of `total_bytes`."""
        of_model = checkpoint_bytes(self.model.shape, self.settings)
        of_extras = sum(extra.copied_bytes for extra in self.extras)
        return Growth(
            n_checkpoints=self.settings.checkpoints_kept,
            checkpoint_bytes=of_model + of_extras if of_model else of_model,
            n_parallel=self.settings.n_parallel,
            prompts_bytes=self.settings.cache_ram_bytes,
            requests_bytes=requests_bytes(self.settings),
            judged=self.hardware.ram is not None or self.hardware.is_unified,
        )

    @property
    def flags(self) -> list[str]:
        """The arguments of llama-server that make this plan; none for what does not fit."""
        if self.verdict == "does_not_fit":
            return []
        joins = self.joined.rpc_flags if self.joined else ()
        return [*joins, *self.placement.layout.server_flags(self.settings)]

    def explanation(self) -> list[Term]:
        """Every term of `total_bytes`. Raises ModelUnknown for an architecture that we do not
        model.
        """
        if not self.is_modelled:
            raise ModelUnknown(
                "{path}: hakaru has no arithmetic for the architecture '{found}', so there is "
                "nothing to explain.",
                path=self.model.path,
                found=self.model.shape.architecture,
            )
        tensors = self.model.loaded
        task = Task(
            load=load_of(tensors, self.model.shape.n_layer),
            shape=self.model.shape,
            settings=self.settings,
        )
        return explain_placement(task, tensors, self.placement)

    def as_json(self, *, explain: bool = False) -> dict[str, object]:
        """The object of `hakaru fit --json`; with `explain` also the terms of `explanation`."""
        model, shown, growth = self.model, self.computed or self.best, self.growth.as_json()
        stored = self.found.stored if self.found else None
        return {
            "schema": "hakaru.fit/1",
            "verdict": self.verdict,
            "model": {"name": model.name, "path": str(model.path),
                "origin": self.found.origin if self.found else str(model.path),
                "architecture": model.shape.architecture, "type": model.type_name,
                "n_params": model.n_params, "bpw": model.bpw,
                "n_ctx_train": model.shape.n_ctx_train},
            "context": self.settings.n_ctx,
            "parts": shown.parts() | {name: growth[name] for name in growth if name in GROWTH},
            "growth": growth,
            "parts_source": shown.source,
            "total_bytes": self.total_bytes,
            "formula_gigabytes": round(formula_gigabytes(model.n_params, model.bpw), 6),
            "hardware_notes": list(self.hardware.notes),
            "placement_source": "computed" if self.is_modelled else "assumed",
            "devices": [share.as_json() for share in self.placement.devices],
            "flags": self.flags,
            "dry_run": self.dry_run.as_json() if self.dry_run else None,
            "extras": [extra.as_json() for extra in self.extras],
            "margin": self.margin.as_json(),
            "max_context": self.max_context,
            "speed": self.speed.as_json() if self.speed else None,
            "alternatives": [way.as_json() for way in self.alternatives],
        } | ({"terms": [_term_json(term) for term in self.explanation()]} if explain else {}) | (
            {"checkpoint": asdict(stored)} if stored else {}
        ) | ({"cluster": self.joined.as_json()} if self.joined else {})  # fmt: skip


def _term_json(term: Term) -> dict[str, object]:
    return {
        "part": term.part, "what": term.what, "formula": spelled(term.formula),
        "where": spelled(term.where), "bytes": term.bytes,
    }  # fmt: skip
