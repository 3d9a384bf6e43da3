"""What was measured, in the words of the page."""

from pathlib import Path

import pytest

from hakaru.evaluation.last_test import Loss
from hakaru.evaluation.tiers import Verdict
from hakaru.language import use_language
from hakaru.memory.context import settings_for
from hakaru.models.model import read_model
from hakaru.testing import write_tiny_llama
from hakaru.units import Figure
from hakaru.web.measured import Measured, cards, commands


def figure(value: float, low: float, high: float) -> Figure:
    return Figure(value=value, unit="", source="measured", low=low, high=high)


def loss(kld: float, high: float, verdict: Verdict = "pass", n_windows: int = 12) -> Loss:
    return Loss(
        at="2026-11-29T21:00:00+00:00",
        tier="balanced",
        verdict=verdict,
        kld_mean=figure(kld, kld / 2, high),
        top1_agreement=figure(0.931, 0.92, 0.94),
        n_windows=n_windows,
        reference="large.gguf",
    )


def test_the_loss_is_told_in_plain_words() -> None:
    """0.03 nats are a total variation of at most 0.1225, which is one word in 8.16: one in 8 holds,
    one in 9 would not.
    """
    tier, lost = cards(Measured(loss=loss(0.02, 0.03)))
    assert (tier.label, tier.value, tier.kind) == ("Tier balanced", "✓ kept", "good")
    assert "a loss of 0.03 on average: at most one word in 8" in tier.note
    assert "in at least 92 of 100 places" in tier.note
    assert lost.value == "0.0200"
    assert "At most one word in 8 comes out differently" in lost.note
    assert "the same in 93.1 of 100 places" in lost.note
    assert "0.0100 to 0.0300, on 12 windows" in lost.note
    use_language("ja")
    _, lost = cards(Measured(loss=loss(0.02, 0.03)))
    assert "違う語になるのは多くても 8 語に 1 語です" in lost.note


def test_a_loss_that_says_nothing_of_a_word_makes_no_promise() -> None:
    """From a KLD of 0.5 on the bound is half of all words."""
    _, lost = cards(Measured(loss=loss(0.4, 0.6, "fail")))
    assert "one word in" not in lost.note


@pytest.mark.parametrize(
    ("verdict", "value", "kind"),
    [("fail", "✗ not kept", "bad"), ("inconclusive", "? not proven", "")],
)
def test_the_verdict_has_a_word_and_a_sign(verdict: Verdict, value: str, kind: str) -> None:
    """Never a colour alone."""
    tier, _ = cards(Measured(loss=loss(0.04, 0.05, verdict)))
    assert (tier.value, tier.kind) == (value, kind)


@pytest.mark.parametrize(
    "measured", [Measured(loss=loss(0, 0), is_source=True), Measured(loss=loss(0, 0, n_windows=0))]
)
def test_what_all_others_are_compared_with_loses_nothing(measured: Measured) -> None:
    """The source of a decision, and the reference of a test."""
    assert cards(measured)[1].value == "none"


def test_speeds_have_their_range_or_say_that_others_computed() -> None:
    """A speed beside other work says little."""
    decode, prefill = figure(55.94, 53.4, 60.8), figure(1234.4, 1111, 1300)
    writes, reads = cards(Measured(decode=decode, prefill=prefill))
    assert (writes.value, writes.note) == ("55.9 tokens/s", "53.4 to 60.8 over several runs")
    assert (reads.value, reads.note) == ("1,234 tokens/s", "1,111 to 1,300 over several runs")
    (writes,) = cards(Measured(decode=decode, is_contended=True))
    assert "says little" in writes.note


def test_what_is_missing_has_a_command_that_can_be_pasted(tmp_path: Path) -> None:
    """Spaces, quotes and Japanese in the path; the settings of the server; nothing for what is
    known.
    """
    model = read_model(write_tiny_llama(tmp_path / "it's モデル.gguf"))
    usual = settings_for(model)
    quoted = f"'{tmp_path}/it'\"'\"'s モデル.gguf'"
    speed, lost = commands(Measured(), model, usual)
    assert speed[1] == f"hakaru test {quoted}"
    assert lost[1] == f"hakaru test {quoted} --reference ORIGINAL.gguf"
    small = settings_for(model, n_ctx=256, type_k="q8_0", type_v="q8_0")
    ((_, command),) = commands(Measured(loss=loss(0, 0)), model, small)
    assert command == (
        f"hakaru test {quoted} --context 256 --cache-type-k q8_0 --cache-type-v q8_0"
    )
    assert commands(Measured(loss=loss(0, 0), decode=figure(1, 1, 1)), model, usual) == []
