"""What past decisions measured of a file, from evidence that 0.1 wrote."""

import json
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from hakaru.choosing.evidence import save_evidence
from hakaru.choosing.past import past_of
from hakaru.memory.settings import ContextSettings
from hakaru.places import data_dir

OLD = json.loads(
    (Path(__file__).parent / "evidence-of-0.1.json").read_text(encoding="utf-8")
)  # of the embedded model: Q4_K_M broke the tier, the source was taken
Q4_K_M, SOURCE = (candidate["sha256"] for candidate in OLD["candidates"][:2])
SETTINGS = ContextSettings(n_ctx=4096)


@pytest.fixture
def evidence() -> dict[str, Any]:
    """The old evidence, saved."""
    save_evidence("old", OLD)
    return dict(OLD)


@pytest.mark.usefixtures("evidence")
def test_the_figures_are_those_of_the_file() -> None:
    """By its hash: the level that was read, and the source that was timed."""
    read, source = past_of(Q4_K_M, SETTINGS), past_of(SOURCE, SETTINGS)
    assert read
    assert read.loss
    assert (read.loss.tier, read.loss.verdict, read.loss.n_windows) == ("balanced", "fail", 12)
    assert read.loss.kld_mean.value == pytest.approx(0.064664)
    assert (read.is_source, read.decode_tokens_per_s) == (False, None)
    assert source
    assert source.decode_tokens_per_s
    assert source.decode_tokens_per_s.value == pytest.approx(65.829309)
    assert (source.is_source, source.machine) == (True, "b5491e7b8194")


@pytest.mark.usefixtures("evidence")
def test_another_file_and_another_cache_are_not_meant() -> None:
    """A loss is of a file and its KV cache; a speed is of all settings."""
    assert past_of("0" * 64, SETTINGS) is None
    assert past_of(SOURCE, replace(SETTINGS, type_k="q4_0")) is None
    shorter = past_of(SOURCE, replace(SETTINGS, n_ctx=2048))
    assert shorter
    assert shorter.loss
    assert shorter.decode_tokens_per_s is shorter.prefill_tokens_per_s is None


def test_the_latest_decision_counts_and_what_cannot_be_read_is_left_out(
    evidence: dict[str, Any],
) -> None:
    """Also texts that played no part in the choice count before those to choose by."""
    level = dict(evidence["candidates"][0])
    level["untouched"] = {**level, "n_windows": 30}
    save_evidence("new", {**evidence, "candidates": [level]})
    (data_dir("evidence") / "99991231T000000.000000Z-torn.json").write_text(f'{{"{Q4_K_M}"')
    found = past_of(Q4_K_M, SETTINGS)
    assert found
    assert found.loss
    assert found.loss.n_windows == 30
