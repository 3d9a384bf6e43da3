"""The picture of a decision shows every level with its interval, its state and a label, and where the tier ends."""

from dataclasses import replace
from pathlib import Path

import altair
import pytest

from hakaru.cli.decision import save_decision_report
from hakaru.errors import Misuse
from hakaru.evaluation.divergence import identical
from hakaru.evaluation.judgement import Judgement
from hakaru.evaluation.speed import Speed
from hakaru.evaluation.tasks import Graded, our_items, pair
from hakaru.evaluation.tiers import TIERS, Quality
from hakaru.hardware.probe import probe_machine
from hakaru.memory.footprint import ContextSettings
from hakaru.models.model import Model, read_model
from hakaru.pictures.pareto import pareto_chart, save_pareto_picture
from hakaru.testing import write_tiny_llama
from hakaru.tuning.decide import Candidate, Constraints
from hakaru.tuning.decision import Decision
from hakaru.units import Figure


def figure(value: float, unit: str) -> Figure:
    return Figure(value=value, unit=unit, source="measured", low=0.9 * value, high=1.1 * value)


def level(type_: str, size: int, kld: float, rate: float | None = None) -> Candidate:
    quality = Quality(kld_mean=figure(kld, "nats/token"), top1_agreement=figure(0.9, "fraction"), perplexity_ratio=figure(1, "ratio"), domains={},
                      n_windows=40, n_tokens=4000)  # fmt: skip
    speed = Speed(decode_tokens_per_s=figure(rate, "tokens/s"), prefill_tokens_per_s=figure(1, "x"), first_token_ms=figure(1, "ms"), n_prompt=1,
                  n_predict=1, repeats=6) if rate else None  # fmt: skip
    return Candidate(
        type=type_,
        weights_bytes=size,
        bpw=4.0,
        total_bytes=size,
        fits=True,
        quality=quality,
        speed=speed,
        judgement=Judgement("fail"),
    )


@pytest.fixture
def decision(tmp_path: Path) -> Decision:
    source = replace(level("source", 2**30, 1.0, 50), quality=identical(), judgement=Judgement("pass"), passes=True)
    taken = replace(level("Q6_K", 2**29, 0.01, 80), judgement=Judgement("pass"), passes=True)
    beaten, open_ = (
        replace(level("Q8_0", 2**29 + 9, 0.001, 60), beaten_by="Q6_K"),
        replace(level("Q5_K_M", 2**28, 0.03), judgement=Judgement("inconclusive")),
    )
    too_large = replace(
        level("BF16", 2**32, 0.0004), fits=False, quality=None, judgement=None, predicted=figure(0.0004, "nats/token")
    )
    predicted = replace(
        level("IQ2_M", 2**26, 2.0), quality=None, judgement=None, predicted=figure(2.0, "nats/token"), why="predicted to lose"
    )
    small = replace(
        level("Q6_K", 2**29, 0.01, 70),
        cache=("q8_0", "q8_0"),
        quality=None,
        judgement=None,
        predicted=figure(0.01, "nats/token"),
        why="slower",
    )
    items = our_items("en")[:20]
    tasks = pair(*([Graded(item=item, answer="", right=right) for item in items] for right in (True, False)))
    at_tasks = replace(level("Q4_1", 2**28 + 9, 0.02, 70), judgement=Judgement("pass"), tasks=tasks)
    slow = replace(level("F32", 2**31, 0.0005, 9), judgement=Judgement("pass"), why="slower than the 20 tokens/s asked for")
    return Decision(
        machine=probe_machine(), model=read_model(write_tiny_llama(tmp_path / "tiny.gguf")), settings=ContextSettings(n_ctx=256),
        constraints=Constraints(tier=TIERS["balanced"], min_tokens_per_s=None, memory_bytes=3 * 2**30), candidates=(source, beaten, taken, open_, level("Q2_K", 2**27, 0.9), slow, too_large,
        predicted, small, at_tasks),
        chosen=taken, why="", uses_gpu=False, tokens_full_sweep=1, conditions={},
    )  # fmt: skip


def test_every_level_has_its_state_and_its_interval(decision: Decision) -> None:
    """All levels against size, those that were timed against speed; the source stands on the lower edge. No state of nobody is in the legend."""
    chart = pareto_chart(decision, altair).to_dict()
    sizes, speeds = (
        next(values for layer in panel["layer"] if "state" in (values := layer["data"]["values"])[0]) for panel in chart["hconcat"]
    )
    assert {row["name"]: row["state"] for row in sizes} == {
        "source": "passes", "Q8_0": "cannot win", "Q6_K": "taken", "Q5_K_M": "not proven", "Q2_K": "breaks the tier",
        "F32": "too slow", "BF16": "does not fit", "IQ2_M": "predicted to break it", "Q6_K, KV cache q8_0": "too slow", "Q4_1": "worse at the tasks",
    }  # fmt: skip
    assert {row["name"] for row in speeds} == {"source", "Q8_0", "Q6_K", "F32", "Q6_K, KV cache q8_0", "Q4_1"}
    limits = [
        [layer["data"]["values"] for layer in panel["layer"] if layer["data"]["values"] == [{"mib": 3072.0, "text": "≤ 3.0 GiB"}]]
        for panel in chart["hconcat"]
    ]
    assert [len(found) for found in limits] == [2, 0]
    low, high = next(
        layer["encoding"]["x"]["scale"]["domain"] for layer in chart["hconcat"][1]["layer"] if "x" in layer["encoding"]
    )
    assert low <= min(row["slow"] for row in speeds) and max(row["fast"] for row in speeds) <= high
    assert all(row["low"] <= row["kld"] <= row["high"] for row in sizes)
    assert (
        min(row["kld"] for row in sizes)
        == next(row["kld"] for row in sizes if row["name"] == "source")
        == pytest.approx(0.0004 / 3)
    )


@pytest.mark.parametrize(("ending", "begin"), [(".svg", b"<svg"), (".png", b"\x89PNG")])
def test_it_is_written_by_its_ending(decision: Decision, tmp_path: Path, ending: str, begin: bytes) -> None:
    """Whole; another ending is refused before anything is drawn."""
    path = tmp_path / f"pareto{ending}"
    save_pareto_picture(decision, path)
    assert path.read_bytes().startswith(begin)
    with pytest.raises(Misuse, match=r"expected \.svg or \.png"):
        save_pareto_picture(decision, tmp_path / "pareto.gif")


def test_a_report_holds_table_reasons_and_picture(decision: Decision, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In one file; what a model calls itself is text."""
    path = tmp_path / "levels.html"
    monkeypatch.setattr(Model, "name", "<b>x</b>")
    save_decision_report(replace(decision, why="the fastest of all"), path)
    page = path.read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>") and page.rstrip().endswith("</html>")
    assert "&lt;b&gt;x&lt;/b&gt;" in page and "<b>x</b>" not in page
    for words in (
        "Chosen: Q6_K, the fastest of all.",
        "<td>Q6_K, KV cache q8_0</td>",
        "<td>512.0 MiB</td>",
        "predicted to break it",
        "Evidence:",
    ):
        assert words in page
    with pytest.raises(Misuse, match=r"ends in \.html"):
        save_decision_report(decision, tmp_path / "levels.txt")
