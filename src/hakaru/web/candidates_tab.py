"""The candidates of the decision that knew the served file, for the part "Candidates": their loss
against their memory, each with its interval, and why this one was taken.

Everything comes from the evidence that `hakaru up` or `hakaru tune` wrote, in the words of then;
nothing is measured for a page.
"""

from typing import Any

from msgspec import Struct

from hakaru.choosing.candidate import name_of
from hakaru.choosing.past import latest_decision
from hakaru.errors import MachineError
from hakaru.evaluation.tiers import TIERS
from hakaru.language import say
from hakaru.ledger import Ledger
from hakaru.models.model import Model
from hakaru.pictures.loss_layout import Candidate, State, loss_layout
from hakaru.pictures.plane import NARROW, WIDE
from hakaru.units import Figure, bytes_told, common_unit, three_digits


class CandidateRow(Struct, frozen=True, kw_only=True):
    """A row of the table."""

    number: int
    name: str
    memory: str
    loss: str
    loss_span: str
    speed: str
    speed_span: str
    why: str
    is_taken: bool


def decision_of(model: Model) -> dict[str, Any] | None:
    """The evidence of the latest decision that knew this file; None where there is none, or where
    the file was never hashed.
    """
    try:
        ledger = Ledger(keeps=False)
    except MachineError:
        return None
    try:
        sha256 = ledger.known_model_sha256(model)
    except (MachineError, OSError):  # the file was moved away
        return None
    finally:
        ledger.close()
    return latest_decision(sha256) if sha256 else None


def candidates_told(evidence: dict[str, Any]) -> dict[str, Any]:
    """What the template shows, in the language in use."""
    candidates, constraints = evidence["candidates"], evidence["constraints"]
    unit = common_unit(*(c["total_bytes"] for c in candidates))
    rows = [_row(number, c, evidence, unit) for number, c in enumerate(candidates, 1)]
    told = {
        "title": say("The candidates of {name}", name=evidence["model"]["name"]),
        "sentences": [
            say("Decided on {date}: {why}.", date=evidence["at"][:10], why=evidence["why"])
        ],
        "head": [say("candidate"), say("memory"), say("loss"), say("tokens/s")],
        "rows": rows,
    }
    drawn = [
        Candidate(row.number, c["total_bytes"], loss, _state(c, evidence), _in_words(row))
        for c, row in zip(candidates, rows, strict=True)
        if (loss := _loss(c))
    ]
    if not drawn:
        return told
    tier = TIERS[constraints["quality"]]
    large, small = (
        loss_layout(drawn, (tier.name, tier.kld_mean), constraints["memory_bytes"], width)
        for width in (WIDE, NARROW)
    )
    return told | {
        "large": large,
        "small": small,
        "picture": say("Loss against memory; the table below has the same figures"),
        "key": say(
            "Numbers are those of the table. Ringed: taken. Filled: meets every constraint. Empty: "
            "does not, or that is not proven. Dashed: predicted, not measured. Bars: the "
            "intervals. What loses nothing stands on the lower edge."
        ),
    }


def _is_taken(candidate: dict[str, Any], evidence: dict[str, Any]) -> bool:
    chosen = evidence["chosen"]
    keys = ("type", "cache_type_k", "cache_type_v")
    return bool(chosen) and all(chosen[key] == candidate[key] for key in keys)


def _state(candidate: dict[str, Any], evidence: dict[str, Any]) -> State:
    if _is_taken(candidate, evidence):
        return "taken"
    if candidate["passes"]:
        return "first"
    return "behind" if candidate["kld_mean"] else "misses"


def _loss(candidate: dict[str, Any]) -> Figure | None:
    """The loss that was measured, or else predicted."""
    lost = candidate["kld_mean"] or candidate["predicted_kld"]
    return Figure.from_json(lost) if lost else None


def _row(
    number: int, candidate: dict[str, Any], evidence: dict[str, Any], unit: str
) -> CandidateRow:
    loss, decode = _loss(candidate), candidate["decode_tokens_per_s"]
    speed = Figure.from_json(decode) if decode else None
    return CandidateRow(
        number=number,
        name=name_of((candidate["type"], (candidate["cache_type_k"], candidate["cache_type_v"]))),
        memory=bytes_told(candidate["total_bytes"], unit),
        loss="-" if loss is None else f"{loss.value:.3g}" if loss.value else "0",
        loss_span=_loss_span(loss, is_measured=bool(candidate["kld_mean"])),
        speed=three_digits(speed.value) if speed else "-",
        speed_span=_span(three_digits(speed.lowest), three_digits(speed.highest)) if speed else "",
        why=candidate["why"],
        is_taken=_is_taken(candidate, evidence),
    )


def _span(low: str, high: str) -> str:
    return say("{low} to {high}", low=low, high=high)


def _loss_span(loss: Figure | None, *, is_measured: bool) -> str:
    """The interval of a loss; empty where there is none, as for the source."""
    if loss is None or not loss.value:
        return ""
    span = _span(f"{loss.lowest:.3g}", f"{loss.highest:.3g}")
    return span if is_measured else say("predicted, {span}", span=span)


def _in_words(row: CandidateRow) -> str:
    return f"{row.number} {row.name}: {row.memory}, {row.loss} ({row.loss_span}). {row.why}"
