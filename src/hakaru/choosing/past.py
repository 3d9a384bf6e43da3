"""What past decisions measured of a file, read from their evidence."""

import json
from collections.abc import Iterator
from typing import Any

from msgspec import Struct

from hakaru.choosing.decision import SCHEMA
from hakaru.choosing.evidence_files import evidence_texts
from hakaru.errors import MachineError
from hakaru.evaluation.last_test import Loss
from hakaru.memory.settings import ContextSettings
from hakaru.units import Figure


class Past(Struct, frozen=True, kw_only=True):
    """What the latest decision that knew a file measured of it with the same KV cache."""

    loss: Loss | None
    is_source: bool  # the file is the one against which the other levels were compared
    machine: str  # the fingerprint of the machine
    decode_tokens_per_s: Figure | None  # None, too, if another setting was different
    prefill_tokens_per_s: Figure | None
    is_contended: bool  # other programs computed while the speed was measured


def past_of(sha256: str, settings: ContextSettings) -> Past | None:
    """What is known of the file with this hash from decisions; None if no decision knew it."""
    for evidence in _latest_first(sha256):
        asked = evidence["settings"]
        for candidate in evidence["candidates"]:
            cache = (candidate["cache_type_k"], candidate["cache_type_v"])
            if candidate["sha256"] == sha256 and cache == settings.cache:
                asked |= {"type_k": cache[0], "type_v": cache[1]}
                return _past(evidence, candidate, timed=asked == settings.as_json())
    return None


def latest_decision(sha256: str) -> dict[str, Any] | None:
    """The evidence of the latest decision that knew the file with this hash."""
    return next(_latest_first(sha256), None)


def _latest_first(sha256: str) -> Iterator[dict[str, Any]]:
    """The evidence that names this hash; what another version wrote in other words is left out."""
    try:
        for text in evidence_texts():
            evidence = _decision(text) if sha256 in text else None
            if evidence:
                yield evidence
    except MachineError:  # a home that is read-only
        return


def _decision(text: str) -> dict[str, Any] | None:
    try:
        evidence: dict[str, Any] = json.loads(text)
        return evidence if evidence["schema"] == SCHEMA else None
    except (ValueError, KeyError):
        return None


def _past(evidence: dict[str, Any], candidate: dict[str, Any], *, timed: bool) -> Past:
    decode, prefill = (
        Figure.from_json(candidate[key]) if timed and candidate.get(key) else None
        for key in ("decode_tokens_per_s", "prefill_tokens_per_s")
    )
    return Past(
        loss=_loss(evidence, candidate),
        is_source=candidate["type"] == "source",
        machine=evidence["machine"]["fingerprint"],
        decode_tokens_per_s=decode,
        prefill_tokens_per_s=prefill,
        is_contended=bool(candidate.get("contended")),
    )


def _loss(evidence: dict[str, Any], candidate: dict[str, Any]) -> Loss | None:
    """The loss on texts that played no part in the choice where that was measured, else on the
    texts to choose by.
    """
    lost = candidate.get("untouched") or candidate
    if not lost["kld_mean"]:
        return None
    return Loss(
        at=evidence["at"],
        tier=evidence["constraints"]["quality"],
        verdict=candidate["verdict"],
        kld_mean=Figure.from_json(lost["kld_mean"]),
        top1_agreement=Figure.from_json(lost["top1_agreement"]),
        n_windows=lost["n_windows"] or 0,
        reference=evidence["model"]["name"],
    )
