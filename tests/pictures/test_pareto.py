"""The picture of a decision shows every level with its interval, its state and a label, and where
the tier ends.
"""

from pathlib import Path

import altair
import pytest

from decisions import decision_of_every_state
from hakaru.choosing.decision import Decision
from hakaru.cli.tell.tune import save_decision_report
from hakaru.errors import Misuse
from hakaru.models.model import Model
from hakaru.pictures.pareto import pareto_chart, save_pareto_picture


@pytest.fixture
def decision(tmp_path: Path) -> Decision:
    return decision_of_every_state(tmp_path)


def test_every_level_has_its_state_and_its_interval(decision: Decision) -> None:
    """All levels against size, those that were timed against speed; the source stands on the lower
    edge. No state of nobody is in the legend.
    """
    chart = pareto_chart(decision, altair).to_dict()
    sizes, speeds = (
        next(
            values for layer in panel["layer"] if "state" in (values := layer["data"]["values"])[0]
        )
        for panel in chart["hconcat"]
    )
    assert {row["name"]: row["state"] for row in sizes} == {
        "source": "passes", "Q8_0": "cannot win", "Q6_K": "taken", "Q5_K_M": "not proven",
        "Q2_K": "breaks the tier", "F32": "too slow", "BF16": "does not fit",
        "IQ2_M": "predicted to break it", "Q6_K, KV cache q8_0": "too slow",
        "Q4_1": "worse at the tasks",
    }  # fmt: skip
    assert {row["name"] for row in speeds} == {
        "source",
        "Q8_0",
        "Q6_K",
        "F32",
        "Q6_K, KV cache q8_0",
        "Q4_1",
    }
    limits = [
        [
            layer["data"]["values"]
            for layer in panel["layer"]
            if layer["data"]["values"] == [{"mib": 3072.0, "text": "≤ 3.0 GiB"}]
        ]
        for panel in chart["hconcat"]
    ]
    assert [len(found) for found in limits] == [2, 0]
    low, high = next(
        layer["encoding"]["x"]["scale"]["domain"]
        for layer in chart["hconcat"][1]["layer"]
        if "x" in layer["encoding"]
    )
    assert low <= min(row["slow"] for row in speeds) and max(row["fast"] for row in speeds) <= high
    assert all(row["low"] <= row["kld"] <= row["high"] for row in sizes)
    assert (
        min(row["kld"] for row in sizes)
        == next(row["kld"] for row in sizes if row["name"] == "source")
        == pytest.approx(0.0004 / 3)
    )


@pytest.mark.parametrize(("ending", "begin"), [(".svg", b"<svg"), (".png", b"\x89PNG")])
def test_it_is_written_by_its_ending(
    decision: Decision, tmp_path: Path, ending: str, begin: bytes
) -> None:
    """Whole; another ending is refused before anything is drawn."""
    path = tmp_path / f"pareto{ending}"
    save_pareto_picture(decision, path)
    assert path.read_bytes().startswith(begin)
    with pytest.raises(Misuse, match=r"expected \.svg or \.png"):
        save_pareto_picture(decision, tmp_path / "pareto.gif")


def test_a_report_holds_table_reasons_and_picture(
    decision: Decision, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one file; what a model calls itself is text."""
    path = tmp_path / "levels.html"
    monkeypatch.setattr(Model, "title", "<b>x</b>")
    save_decision_report(decision, path)
    page = path.read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>") and page.rstrip().endswith("</html>")
    assert "&lt;b&gt;x&lt;/b&gt;" in page and "<b>x</b>" not in page
    for words in (
        "Chosen: Q6_K, the fastest of the 2 that meet every wish, 80.0 tokens/s.",
        "<td>Q6_K, KV cache q8_0</td>",
        "<td>512.0 MiB</td>",
        "predicted to break it",
        "Evidence:",
    ):
        assert words in page
    with pytest.raises(Misuse, match=r"ends in \.html"):
        save_decision_report(decision, tmp_path / "levels.txt")
