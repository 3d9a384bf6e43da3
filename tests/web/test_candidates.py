"""The candidates on the page: the table has what the evidence has, and the picture is the table."""

import json
from pathlib import Path
from typing import Any

import pytest

from hakaru.pictures.loss_layout import Candidate, LossLayout, loss_layout
from hakaru.units import Figure
from hakaru.web.candidates_tab import candidates_told

EVIDENCE = Path(__file__).parent.parent / "choosing" / "evidence-of-0.1.json"
MIB = 2**20


@pytest.fixture
def evidence() -> dict[str, Any]:
    told: dict[str, Any] = json.loads(EVIDENCE.read_text(encoding="utf-8"))
    return told


def loss(value: float, low: float, high: float) -> Figure:
    return Figure(value=value, unit="nats/token", source="measured", low=low, high=high)


def drawn(*candidates: Candidate, limit: int | None = None) -> LossLayout:
    return loss_layout(candidates, ("balanced", 0.03), limit, 720)


def test_the_table_has_every_candidate_and_why(evidence: dict[str, Any]) -> None:
    """With the reasons of then; the one that was taken is marked, and a loss that was not measured
    is a dash.
    """
    told = candidates_told(evidence)
    assert [row.name for row in told["rows"]] == ["Q4_K_M", "source", "source, KV cache q8_0"]
    assert [row.is_taken for row in told["rows"]] == [False, True, False]
    assert [row.loss for row in told["rows"]] == ["0.0647", "0", "-"]
    assert told["rows"][0].loss_span == "0.0544 to 0.0789"
    assert [row.why for row in told["rows"]] == [c["why"] for c in evidence["candidates"]]
    assert evidence["why"] in told["sentences"][0]
    assert [mark.number for mark in told["large"].marks] == [1, 2]


def test_a_predicted_loss_is_called_so(evidence: dict[str, Any]) -> None:
    """In the table and by its mark."""
    evidence["candidates"][0] |= {"kld_mean": None}
    told = candidates_told(evidence)
    assert told["rows"][0].loss_span.startswith("predicted, ")
    assert told["large"].marks[0].state == "misses"


def test_nothing_chosen_and_nothing_read_is_a_table_alone(evidence: dict[str, Any]) -> None:
    """No empty axes."""
    evidence["chosen"] = None
    for candidate in evidence["candidates"]:
        candidate |= {"kld_mean": None, "predicted_kld": None}
    told = candidates_told(evidence)
    assert "large" not in told and not any(row.is_taken for row in told["rows"])


def test_less_loss_is_lower_and_more_memory_further_right() -> None:
    """The source stands on the lower edge, the tier between what keeps it and what breaks it, and
    the interval around its mark.
    """
    picture = drawn(
        Candidate(1, 900 * MIB, loss(0, 0, 0), "taken", ""),
        Candidate(2, 700 * MIB, loss(0.01, 0.008, 0.013), "first", ""),
        Candidate(3, 500 * MIB, loss(0.2, 0.15, 0.3), "behind", ""),
        limit=800 * MIB,
    )
    source, good, bad = picture.marks
    assert source.x > good.x > bad.x
    assert source.y > good.y > picture.tier.at > bad.y
    assert good.error[0] < good.y < good.error[1]
    assert picture.limit and good.x < picture.limit.at < source.x
    assert picture.left < bad.x and source.x < picture.right
    assert all(picture.top <= m.error[0] <= m.error[1] <= picture.bottom for m in picture.marks)


def test_one_candidate_is_drawn() -> None:
    """Axes of one value have a width."""
    only = drawn(Candidate(1, 500 * MIB, loss(0.01, 0.008, 0.013), "taken", ""))
    assert only.left < only.marks[0].x < only.right and only.limit is None
