"""What was measured here wins over what is predicted and published."""

import json
from pathlib import Path

import pytest

from hakaru.models.catalogue import KnownModel, known_models
from hakaru.places import data_dir
from hakaru.selection.remembered import nothing, recall_on

SMOL = next(model for model in known_models() if model.id == "smollm2-135m-instruct")


def figure(value: float) -> dict[str, object]:
    return {"value": value, "low": value * 0.9, "high": value * 1.1, "unit": "x",
        "source": "measured"}  # fmt: skip


def level(type_: str, verdict: str, **more: object) -> dict[str, object]:
    return {
        "type": type_, "cache_type_k": "f16", "cache_type_v": "f16", "verdict": verdict,
        "kld_mean": figure(0.02), "decode_tokens_per_s": figure(90.0), "contended": False, **more,
    }  # fmt: skip


def guesses(means: str, gain: float, *, contended: bool = False) -> dict[str, object]:
    """A way to guess ahead as it stands in the evidence."""
    return {"means": means, "n_max": 4, "draft": None, "memory_bytes": 1000, "gain": figure(gain),
        "contended": contended}  # fmt: skip


def keep(
    moment: str, levels: list[dict[str, object]], *, speculative: object = None, **model: object
) -> None:
    """An evidence file as `hakaru tune` leaves it, which chose the first level."""
    evidence = {
        "at": "2026-11-20T10:00:00+00:00", "machine": {"fingerprint": "here"},
        "model": {"name": "SmolLM2 135M Instruct", "architecture": "llama",
            "n_params": SMOL.n_params, **model},
        "constraints": {"quality": "balanced"}, "candidates": levels, "chosen": levels[0],
        "speculative": speculative,
    }  # fmt: skip
    path = data_dir("evidence") / f"{moment}.json"
    path.write_text(json.dumps(evidence), encoding="utf-8")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is remembered yet."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))


def test_a_level_is_recalled_with_its_tier_and_its_speed() -> None:
    """By the model's name, whatever its blanks and dashes."""
    keep("a", [level("Q8_0", "pass"), level("Q4_K_M", "fail")])
    recall = recall_on("here")
    eight, four = recall(SMOL, "Q8_0", "f16"), recall(SMOL, "Q4_K_M", "f16")
    assert eight and eight.verdict == "pass" and eight.tier == "balanced"
    assert eight.decode and (eight.decode.value, eight.decode.source) == (90.0, "measured here")
    assert four and four.verdict == "fail"
    assert recall(SMOL, "Q8_0", "q8_0") is None
    assert recall(SMOL, "Q6_K", "f16") is None


def test_the_latest_decision_counts() -> None:
    """Files are named by their moment."""
    keep("20260101", [level("Q8_0", "fail")])
    keep("20260201", [level("Q8_0", "pass")])
    known = recall_on("here")(SMOL, "Q8_0", "f16")
    assert known and known.verdict == "pass"


@pytest.mark.parametrize(
    "other", [{"name": "SmolLM2 360M"}, {"architecture": "qwen2"}, {"n_params": 10**9}]
)
def test_another_model_is_not_taken_for_it(other: dict[str, object]) -> None:
    """Neither by name, nor by architecture, nor by size."""
    keep("a", [level("Q8_0", "pass")], **other)
    assert recall_on("here")(SMOL, "Q8_0", "f16") is None


def test_a_speed_of_another_machine_or_beside_others_is_left_out() -> None:
    """Its loss holds everywhere."""
    keep("a", [level("Q8_0", "pass"), level("Q6_K", "pass", contended=True)])
    elsewhere, beside = (
        recall_on("there")(SMOL, "Q8_0", "f16"),
        recall_on("here")(SMOL, "Q6_K", "f16"),
    )
    assert elsewhere and elsewhere.decode is None and elsewhere.verdict == "pass"
    assert beside and beside.decode is None


def test_the_gain_of_guesses_is_that_of_the_level_that_was_chosen_here() -> None:
    """What was taken, else the best that was measured; nothing beside other programs, and nothing
    of another machine.
    """
    levels = [level("Q8_0", "pass"), level("Q4_K_M", "pass")]
    keep("a", levels, speculative={"taken": None, "tried": [guesses("ngram", 0.9)]})
    eight, four = (recall_on("here")(SMOL, type_, "f16") for type_ in ("Q8_0", "Q4_K_M"))
    assert eight and four and four.guessing is None
    found = eight.guessing
    assert found and found.gain and (found.means, found.gain.value) == ("ngram", 0.9)
    assert found.taken is False
    elsewhere = recall_on("elsewhere")(SMOL, "Q8_0", "f16")
    assert elsewhere and elsewhere.guessing is None
    taken = guesses("draft", 1.6)
    keep("b", levels, speculative={"taken": taken, "tried": [taken, guesses("ngram", 1.0)]})
    later = recall_on("here")(SMOL, "Q8_0", "f16")
    assert (
        later and later.guessing and (later.guessing.means, later.guessing.taken) == ("draft", True)
    )
    keep("c", levels, speculative={"taken": None, "tried": [guesses("ngram", 2, contended=True)]})
    beside = recall_on("here")(SMOL, "Q8_0", "f16")
    assert beside and beside.guessing is None


def test_a_file_that_is_none_of_ours_is_left_out() -> None:
    """And without any file nothing is asked."""
    assert recall_on("here") is nothing
    (data_dir("evidence") / "b.json").write_text("{]", encoding="utf-8")
    (data_dir("evidence") / "c.json").write_text('{"schema": "other/1"}', encoding="utf-8")
    model: KnownModel = SMOL
    assert recall_on("here")(model, "Q8_0", "f16") is None
