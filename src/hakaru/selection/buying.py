"""What to buy for a model: the accelerators, and how many of each, that would run it.

Every accelerator of the catalogue is tried in ones, twos, fours and eights, without a part of the
model in RAM, and the least number that runs the model fast enough is an answer. The answers with
the least memory come first: they are the least that does it. Left out: cards of laptops, rebuilt
cards, prices.
"""

from collections.abc import Iterator, Sequence
from typing import Final, Unpack

from msgspec import Struct
from msgspec.structs import replace

from hakaru.errors import ModelNotFound
from hakaru.hardware.lookup import Row, table
from hakaru.hardware.machine import Hardware
from hakaru.hardware.named_machine import device_of
from hakaru.models.benchmarks import TASKS, Task
from hakaru.models.by_id import entry_called
from hakaru.models.by_word import CLASS_PARAMS, size_class_of
from hakaru.models.catalogue import KnownModel
from hakaru.models.own_catalogue import all_models
from hakaru.selection.boards import Lead, better_up, lead_for
from hakaru.selection.chosen import speed_json
from hakaru.selection.conditions import Asked, Conditions, conditions_of
from hakaru.selection.contender import Contender
from hakaru.selection.judging import Where, best_contender
from hakaru.selection.row_speeds import speeds

COUNTS: Final = (1, 2, 4, 8)
CLASSES: Final = ("small", *(name for name, _ in reversed(CLASS_PARAMS)))
SOLD_WITH: Final = {
    "apple-m4": (16, 24, 32),
    "apple-m4-pro": (24, 48, 64),
    "apple-m4-max": (36, 48, 64, 128),
    "apple-m3-ultra": (96, 256, 512),
}
"""Memories in GB of chips that are sold with several. Source: Apple's technical specifications."""


class Purchase(Struct, frozen=True, kw_only=True):
    """So many accelerators of one kind, and the model on them."""

    name: str
    count: int
    memory_bytes: int  # of all
    watts: float | None  # of all; None: not known
    contender: Contender

    @property
    def spare_bytes(self) -> int:
        """Memory of the accelerators that stays free."""
        return sum(share.headroom_bytes for share in self.contender.placement.shares)

    def as_json(self) -> dict[str, object]:
        """An entry of `accelerators` in the JSON."""
        contender = self.contender
        return {
            "name": self.name, "count": self.count, "memory_bytes": self.memory_bytes,
            "type": contender.type, "cache": contender.cache, "max_n_ctx": contender.longest(),
            "spare_bytes": self.spare_bytes, "watts": self.watts,
            "decode_tokens_per_s": speed_json(contender.speeds.decode),
            "prefill_tokens_per_s": speed_json(contender.speeds.prefill),
            "first_token_s": contender.first_token_s, "misses": list(contender.misses),
        }  # fmt: skip


class Shopping(Struct, frozen=True, kw_only=True):
    """The answer: what would run a model."""

    model: KnownModel
    lead: Lead | None
    conditions: Conditions
    purchases: tuple[Purchase, ...]  # the least memory first
    n_tried: int  # accelerators

    def as_json(self, top: int) -> dict[str, object]:
        """The object of `hakaru choose --for-hardware any --json`."""
        return {
            "schema": "hakaru.purchase/1",
            "model": self.model.id,
            "constraints": self.conditions.as_json(),
            "accelerators": [purchase.as_json() for purchase in self.purchases[:top]],
            "left_out": {
                "too_small_or_slow": self.n_tried - len(self.purchases),
                "further_down": max(0, len(self.purchases) - top),
            },
        }


def shopping(model: str | None, task: Task = "chat", **asked: Unpack[Asked]) -> Shopping:
    """The accelerators that run `model`: a name; or a class of sizes or a task, which mean the
    model with the best score of the class, or for the task. None: that for `task`.

    Without a `min_speed` the pace of the task is a condition. Raises Misuse and ModelNotFound.
    """
    named_task = next((one for one in TASKS if one == model), None)
    conditions = conditions_of(named_task or task, **asked)
    lead = lead_for(conditions.task, conditions.language)
    if model is None or named_task or model in CLASSES:
        wanted = _best(model if model in CLASSES else None, conditions, lead)
    else:
        wanted = entry_called(model)
    conditions = replace(
        conditions, min_speed=conditions.min_speed or conditions.traffic.decode_tokens_per_s or None
    )
    kinds = list(_kinds())
    purchases = [p for row, sold in kinds if (p := _least(row, sold, wanted, conditions, lead))]
    purchases.sort(key=lambda p: (p.memory_bytes, p.watts or 0, p.count))
    return Shopping(
        model=wanted, lead=lead, conditions=conditions, purchases=tuple(purchases),
        n_tried=len(kinds),
    )  # fmt: skip


def _best(size_class: str | None, conditions: Conditions, lead: Lead | None) -> KnownModel:
    """The model with the best score for the task, of all or of a class; without a score the most
    downloaded.
    """
    models = [
        model
        for model in all_models()
        if size_class in {None, size_class_of(model)} and not conditions.why_not(model)
    ]
    if not models:
        raise ModelNotFound(
            "no model of the class {name} meets the conditions; name another class or a model.",
            name=size_class or conditions.task,
        )
    if lead is None:
        return models[0]
    task = conditions.task
    scored = [(score, m) for m in models if (score := lead.score_of(m, task))]
    return max(scored, key=lambda pair: better_up(pair[0]))[1] if scored else models[0]


def _kinds() -> Iterator[tuple[Row, float]]:
    """The accelerators that can be bought, with the memory that they are sold with."""
    for row in table():
        if row["kind"] == "laptop" or row.get("rebuilt"):
            continue
        sizes: Sequence[float] = SOLD_WITH.get(row["id"], ())
        if row["memory_gib"]:
            sizes = (row["memory_gib"],)
        yield from ((row, size) for size in sizes)


def _least(
    row: Row, sold: float, model: KnownModel, conditions: Conditions, lead: Lead | None
) -> Purchase | None:
    """The least number of one kind that runs the model at four bits or more; None if none does."""
    device = device_of(row, sold)
    for count in (1,) if row["kind"] == "unified" else COUNTS:
        where = Where(hardware=Hardware(accelerators=(device,) * count), predict=speeds)
        contender = best_contender(model, conditions, where, lead)
        if isinstance(contender, Contender) and not contender.is_below_four_bits:
            return Purchase(
                name=device.name, count=count, memory_bytes=count * device.total_bytes,
                watts=count * row["tdp_w"] if row["tdp_w"] else None, contender=contender,
            )  # fmt: skip
    return None
