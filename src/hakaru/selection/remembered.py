"""What was measured on this machine of a model of the catalogue at a type: how much it lost, and
how fast it was.

The evidence of `hakaru up` and `hakaru tune` has every level that they measured. A file is known as
a model of the catalogue by its name, its architecture and its number of weights. The latest
measurement counts. A loss holds on every machine, a speed on the one that measured it.
"""

import json
import re
from collections.abc import Callable
from typing import Any, Final

from msgspec import Struct

from hakaru.choosing.evidence_files import evidence_texts
from hakaru.engine.speculation import Means
from hakaru.errors import MachineError
from hakaru.models.catalogue import KnownModel
from hakaru.units import Figure

SAME_SIZE: Final = 0.02
"""By how much the weights of a file may differ from those that its makers count."""


class RowSpeed(Struct, frozen=True, kw_only=True):
    """A speed of a row: tokens per second, with the interval in which nine of ten lie."""

    value: float
    low: float
    high: float
    source: str  # what it was computed from, or that it was measured here

    def as_json(self) -> dict[str, object]:
        """The speed as it stands in `--json`: four digits, more are not known."""
        figures = {"value": self.value, "low": self.low, "high": self.high}
        return {
            **{name: float(f"{value:.4g}") for name, value in figures.items()},
            "source": self.source,
        }


class Guessing(Struct, frozen=True, kw_only=True):
    """What guesses tokens ahead for a row (speculative decoding)."""

    means: Means
    memory_bytes: int  # that it takes more
    draft: str | None = None  # the file of the draft model
    gain: Figure | None = None  # times as fast, measured here; None: not measured
    taken: bool | None = None  # whether it is fast enough to be used; None: not measured

    def as_json(self) -> dict[str, object]:
        """The object `speculative` of a row."""
        return {
            "means": self.means, "draft": self.draft, "memory_bytes": self.memory_bytes,
            "gain": self.gain.as_json() if self.gain else None, "taken": self.taken,
        }  # fmt: skip


class Remembered(Struct, frozen=True, kw_only=True):
    """What was measured of a type."""

    at: str  # the moment, in ISO 8601
    tier: str  # that was judged
    verdict: str | None  # "pass", "fail", "inconclusive"; None: not judged
    kld_mean: float | None  # nats per token
    decode: RowSpeed | None  # None: not timed, or on another machine
    guessing: Guessing | None = None  # None: not measured, or on another machine

    def as_json(self) -> dict[str, object]:
        """Beside the published scores, in `quality`."""
        return {
            "metric": f"tier {self.tier}: {self.verdict}", "value": self.kld_mean,
            "unit": "nats/token", "source": "measured here", "date": self.at[:10],
        }  # fmt: skip


Recall = Callable[[KnownModel, str, str], Remembered | None]
"""By the model, the type of its weights and that of its KV cache."""


def nothing(model: KnownModel, type_: str, cache: str) -> None:
    """Where nothing was ever measured."""


def recall_on(fingerprint: str | None) -> Recall:
    """What was measured; speeds are those of the machine with this fingerprint, None: of none."""
    rows = _rows()
    if not rows:
        return nothing

    def recall(model: KnownModel, type_: str, cache: str) -> Remembered | None:
        for evidence in rows:
            if not _is(evidence["model"], model):
                continue
            for level in evidence["candidates"]:
                if (level["type"], level["cache_type_k"], level["cache_type_v"]) == (
                    type_,
                    cache,
                    cache,
                ):
                    return _remembered(evidence, level, fingerprint)
        return None

    return recall


def _rows() -> list[dict[str, Any]]:
    """The decisions of this machine, the latest first; what cannot be read is left out."""
    rows = []
    try:
        for text in evidence_texts():
            try:
                evidence = json.loads(text)
            except ValueError:
                continue
            if isinstance(evidence, dict) and {"model", "candidates", "machine"} <= evidence.keys():
                rows.append(evidence)
    except MachineError:  # a home that is read-only
        return []
    return rows


def _is(file: dict[str, Any], model: KnownModel) -> bool:
    """Whether a file is the model of the catalogue."""
    names = {_letters(model.id), _letters(model.name)}
    return (
        file.get("architecture") == model.architecture
        and _letters(str(file.get("name", ""))) in names
        and abs(file.get("n_params", 0) / model.n_params - 1) < SAME_SIZE
    )


def _letters(name: str) -> str:
    return re.sub(r"[\W_]", "", name.lower())


def _remembered(
    evidence: dict[str, Any], level: dict[str, Any], fingerprint: str | None
) -> Remembered:
    lost, timed = level.get("kld_mean"), level.get("decode_tokens_per_s")
    is_here = evidence["machine"].get("fingerprint") == fingerprint
    return Remembered(
        at=str(evidence.get("at", "")),
        tier=str(evidence.get("constraints", {}).get("quality", "")),
        verdict=level.get("verdict"),
        kld_mean=lost["value"] if lost else None,
        decode=_speed(Figure.from_json(timed))
        if timed and is_here and not level.get("contended")
        else None,
        guessing=_guessing(evidence) if is_here and _is_chosen(level, evidence) else None,
    )


def _is_chosen(level: dict[str, Any], evidence: dict[str, Any]) -> bool:
    """Whether the level is the one that was chosen, of which alone guesses are measured."""
    names = ("type", "cache_type_k", "cache_type_v")
    chosen = evidence.get("chosen") or {}
    return all(level[name] == chosen.get(name) for name in names)


def _guessing(evidence: dict[str, Any]) -> Guessing | None:
    """The way that was taken, else the best that was measured."""
    measured = evidence.get("speculative") or {"taken": None, "tried": []}
    tried = measured["taken"] or next(iter(measured["tried"]), None)
    if tried is None or tried["contended"]:
        return None
    return Guessing(
        means=tried["means"],
        draft=tried["draft"],
        memory_bytes=tried["memory_bytes"],
        gain=Figure.from_json(tried["gain"]),
        taken=measured["taken"] is not None,
    )


def _speed(figure: Figure) -> RowSpeed:
    return RowSpeed(
        value=figure.value, low=figure.lowest, high=figure.highest, source="measured here"
    )
