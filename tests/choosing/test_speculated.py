"""What guessing ahead gains, and when it is taken: by hand-worked laps."""

import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from hakaru.choosing.evidence import decision_schema
from hakaru.choosing.speculated import LEAST_GAIN, Skipped, Speculated, Tried, compared, spoken
from hakaru.engine.speculation import Speculation
from hakaru.evaluation.acceptance import Lap
from laps import WORKS, lap_of

WAY = Speculation(means="draft", n_max=4, draft=Path("/models/small.gguf"))


def tried(plain: list[Lap], guessing: list[Lap]) -> Tried:
    return compared(WAY, plain, guessing, memory_bytes=1000, draft_sha256="5ha")


def test_the_gain_is_the_ratio_of_the_seconds_per_token() -> None:
    """Alone 2 s and 4 s, with the draft 1 s and 3 s, for 10 tokens each: 6 s against 4 s in two
    rounds, on every prompt. So 1.5 times as fast, and 10 / 2 = 5 tokens/s instead of 10 / 3.
    """
    found = tried(
        [lap_of(2.0), lap_of(4.0)], [lap_of(1.0, guessed=(8, 6)), lap_of(3.0, guessed=(8, 4))]
    )
    assert found.gain.value == pytest.approx(1.5)
    assert (found.gain.lowest, found.gain.highest) == pytest.approx((1.5, 1.5))
    assert found.tokens_per_s.value == pytest.approx(5)
    assert found.plain_tokens_per_s.value == pytest.approx(10 / 3)
    assert found.acceptance == pytest.approx(10 / 16)
    assert (found.n_rounds, found.n_answers) == (2, len(WORKS))
    assert found.pays


def test_kinds_of_work_are_told_apart() -> None:
    """Summaries twice as fast, the rest as before."""
    fast = [0.5 if work == "summary" else 1.0 for work in WORKS]
    found = tried([lap_of(1.0)] * 2, [lap_of(fast)] * 2)
    assert found.by_work == {"chat": 1.0, "code": 1.0, "summary": 2.0}


def test_less_than_a_tenth_is_not_taken() -> None:
    """A draft takes memory. 1.05 times as fast on every prompt is certain, and not enough."""
    found = tried([lap_of(1.05)] * 2, [lap_of(1.0)] * 2)
    assert 1 < found.gain.lowest < LEAST_GAIN
    assert not found.pays
    assert found.is_hopeless


def test_a_gain_within_the_noise_is_not_taken() -> None:
    """Half of the prompts are three times as fast, the others half as fast: 1.2 on average, and
    the interval reaches below 1.
    """
    mixed = [1 / 3 if i % 2 else 1.2 for i in range(len(WORKS))]
    found = tried([lap_of(1.0)] * 2, [lap_of(mixed)] * 2)
    assert found.gain.value > LEAST_GAIN
    assert found.gain.lowest < 1
    assert not found.pays
    assert not found.is_hopeless


def test_the_round_in_which_it_was_found_does_not_take_it() -> None:
    """The best of several looks better than it is."""
    assert not tried([lap_of(2.0)], [lap_of(1.0)]).pays


def test_what_was_measured_beside_other_programs_is_not_taken() -> None:
    """However fast it looks."""
    found = tried([lap_of(2.0)] * 2, [lap_of(1.0, busy=1.0)] * 2)
    assert found.contended
    assert not found.pays


def test_where_nothing_was_guessed_nothing_is_known_of_acceptance() -> None:
    """An n-gram that never came again."""
    assert tried([lap_of(1.0)], [lap_of(1.0)]).acceptance is None


def test_evidence_holds_all_of_it() -> None:
    """As the schema says, and back."""
    result = Speculated(
        tried=(tried([lap_of(2.0)] * 2, [lap_of(1.0, guessed=(4, 3))] * 2),),
        skipped=(Skipped(name="large", why="does not fit"),),
        language="ja",
    )
    data = json.loads(json.dumps(result.as_json()))
    assert Speculated.from_json(data) == result
    assert data["taken"]["n_max"] == 4
    schema = decision_schema()
    part = {**schema["properties"]["speculative"], "$defs": schema["$defs"]}
    Draft202012Validator(part).validate(data)
    with pytest.raises(Exception, match="means"):
        Draft202012Validator(part).validate({**data, "taken": {"n_max": 3, "draft": None}})


def test_ways_have_names_for_people() -> None:
    """A draft is called as its file."""
    assert spoken(WAY) == "small"
    assert spoken(Speculation(means="mtp", n_max=3)) == "its own layers (MTP)"
    assert spoken(Speculation(means="ngram", n_max=8)) == "the text so far"
