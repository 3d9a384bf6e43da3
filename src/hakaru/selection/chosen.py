"""The answer of `choose`: the rows for a task on a machine, and the one to take. Pure."""

from collections.abc import Mapping

from msgspec import Struct, field

from hakaru.hardware.machine import Hardware
from hakaru.models.licences import licence_class
from hakaru.models.scores import scores_of
from hakaru.pulling.ways import Way
from hakaru.selection.conditions import Conditions, Reason
from hakaru.selection.contender import Contender
from hakaru.selection.cost import Cost, Prices
from hakaru.selection.drafts_here import DraftHere
from hakaru.selection.relaxing import Relaxation
from hakaru.selection.remembered import RowSpeed
from hakaru.selection.row_cost import PowerHere, row_cost
from hakaru.selection.searching import Search
from hakaru.selection.solved import Row, Solved
from hakaru.selection.speculative_row import guessing
from hakaru.selection.why import why


class Chosen(Struct, frozen=True, kw_only=True):
    """What `choose` found."""

    hardware: Hardware
    conditions: Conditions
    search: Search  # of everything that was looked at
    rows: tuple[Contender, ...]  # those to show, the recommended one first
    left_out: Mapping[Reason, int]  # models that have no row, by their reason
    relaxations: tuple[Relaxation, ...] = ()  # where there is no row
    ways: tuple[Way, ...] = ()  # of having the recommended one here; empty for a named machine
    power: PowerHere | None = None  # what was measured; None for a named machine
    solved: Mapping[Row, tuple[Solved, ...]] = field(default_factory=dict)  # by races, here
    drafts: tuple[DraftHere, ...] = ()  # on this disk; empty for a named machine
    prices: Prices | None = None  # what electricity and others' answers cost, if it was named

    @property
    def recommended(self) -> Contender | None:
        """The row to take; None if nothing meets every condition."""
        return self.search.recommended

    def cost(self, contender: Contender) -> Cost | None:
        """What a million tokens of a row cost; None without prices, or where it is not known."""
        if self.prices is None:
            return None
        return row_cost(contender, self.conditions.traffic, self.prices, self.power)

    def solved_by(self, row: Contender) -> list[tuple[str, Solved]]:
        """What races found of the row's model, each with the type that ran: first the row's own,
        then others, which ran where that one is not published.
        """
        own = [
            (type_, found) for (model, type_), found in self.solved.items() if model == row.model.id
        ]
        own.sort(key=lambda pair: pair[0] != row.type)
        return [(type_, solved) for type_, found in own for solved in found]

    def as_json(self) -> dict[str, object]:
        """The object of `hakaru choose --json`."""
        rows = [self._row(contender) for contender in self.rows]
        return {
            "schema": "hakaru.choice/1",
            "machine": machine_json(self.hardware),
            "constraints": self.conditions.as_json(),
            "recommended": rows[0] if self.recommended else None,
            "rows": rows,
            "ways": [way.as_json() for way in self.ways],
            "left_out": dict(self.left_out),
            "relax": [way.as_json() for way in self.relaxations],
        }

    def _row(self, contender: Contender) -> dict[str, object]:
        conditions, model = self.conditions, contender.model
        cost, guesses = self.cost(contender), guessing(contender, self.drafts)
        scores = scores_of(model, conditions.task, conditions.language)
        return {
            "model": model.id,
            "type": contender.type,
            "cache": contender.cache,
            "n_ctx": contender.n_ctx,
            "max_n_ctx": contender.longest(),
            "max_users": contender.most_users() if conditions.traffic.users > 1 else None,
            "devices": [share.as_json() for share in contender.placement.devices],
            "memory_bytes": contender.memory_bytes,
            "least_bytes": contender.least_bytes,
            "projector": contender.eyes.as_json() if contender.eyes else None,
            "assumed_projector_bytes": contender.eyes.assumed_bytes if contender.eyes else None,
            "download_bytes": contender.sized.file_bytes,
            "decode_tokens_per_s": speed_json(contender.speeds.decode),
            "prefill_tokens_per_s": speed_json(contender.speeds.prefill),
            "why_no_prefill": contender.speeds.why_no_prefill or None,
            "decode_of_all_tokens_per_s": speed_json(contender.speeds.of_all(contender.users)),
            "first_token_s": contender.first_token_s,
            "speculative": guesses.as_json() if guesses else None,
            "quality": [
                *([contender.measured.as_json()] if contender.measured else []),
                *(solved.as_json(type_) for type_, solved in self.solved_by(contender)),
                *(score.as_json() for score in scores),
            ],
            "licence": model.license,
            "licence_class": licence_class(model.license),
            "gated": model.gated,
            "misses": list(contender.misses),
            "frontier": contender in self.search.frontier,
            "flags": contender.flags,
            "why": why(contender, self.search),
            **({"cost": cost.as_json() if cost else None} if self.prices else {}),
        }


def machine_json(hardware: Hardware) -> dict[str, object]:
    """The object `machine`: what the models were placed on."""
    devices = [*hardware.accelerators, *([hardware.ram] if hardware.ram else [])]
    return {
        "text": hardware.text or None,
        "devices": [device.as_json() for device in devices],
        "notes": list(hardware.notes),
    }


def speed_json(speed: RowSpeed | None) -> dict[str, object] | None:
    """A predicted speed; None where it is not known."""
    return speed.as_json() if speed else None
