"""Sentences that several commands say."""

from hakaru.cli.words import beside_others, contention, suspicion, verdict_sentence
from hakaru.evaluation import losses
from hakaru.evaluation.divergence import identical
from hakaru.evaluation.judgement import Judgement
from hakaru.evaluation.speed import Point
from hakaru.evaluation.tiers import TIERS
from hakaru.hardware.busy import Others
from hakaru.units import Figure


def test_a_kind_of_text_that_seems_bad_stands_beside_the_verdict() -> None:
    """Not beside a failure, which names its figure."""
    passed = Judgement("pass", suspects=("answers-ja", "code"))
    tested = losses.Tested(quality=identical(), judgement=passed, domains=["code"])
    assert verdict_sentence(tested, TIERS["compact"]) == (
        "Tier compact: passed. On its own this kind of text lost more than the tier allows, "
        "which is not proven: answers in Japanese, code."
    )
    assert (
        suspicion(Judgement("pass"))
        == suspicion(Judgement("fail", broken="kld_mean", suspects=("code",)))
        == []
    )


def test_what_others_kept_busy_is_told_at_its_worst() -> None:
    """Processors, and the GPU only where that was too much; nothing of quiet speeds."""
    rate = Figure(value=1.0, unit="x", source="measured")
    quiet, cpu, gpu = (
        Point(depth=0, users=1, decode_tokens_per_s=rate, first_token_ms=rate, others=others)
        for others in (Others(processors=0.1, gpu=0.05), Others(processors=1.5), Others(gpu=0.4))
    )
    assert contention([quiet]) == []
    assert "1.5 processors busy" in contention([quiet, cpu])[0]
    assert "1.5 processors and 40% of a GPU busy" in contention([quiet, cpu, gpu])[0]
    assert "GPU" not in beside_others(Others(processors=1.0, gpu=0.05))
