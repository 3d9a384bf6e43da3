"""A decision with a level of every state, made by hand."""

from pathlib import Path

from msgspec.structs import replace

from hakaru.choosing.candidate import Candidate, Constraints
from hakaru.choosing.decision import Decision
from hakaru.evaluation.divergence import identical
from hakaru.evaluation.grading import Graded, pair
from hakaru.evaluation.judgement import Judgement
from hakaru.evaluation.speed import Speed
from hakaru.evaluation.tasks import our_items
from hakaru.evaluation.tiers import TIERS, Quality
from hakaru.hardware.probe import probe_machine
from hakaru.memory.settings import ContextSettings
from hakaru.models.model import read_model
from hakaru.testing import write_tiny_llama
from hakaru.units import Figure


def figure(value: float, unit: str) -> Figure:
    return Figure(value=value, unit=unit, source="measured", low=0.9 * value, high=1.1 * value)


def level(type_: str, size: int, kld: float, rate: float | None = None) -> Candidate:
    quality = Quality(kld_mean=figure(kld, "nats/token"), top1_agreement=figure(0.9, "fraction"),
        perplexity_ratio=figure(1, "ratio"), domains={},
                      n_windows=40, n_tokens=4000)  # fmt: skip
    speed = Speed(decode_tokens_per_s=figure(rate, "tokens/s"), prefill_tokens_per_s=figure(1, "x"),
        first_token_ms=figure(1, "ms"), n_prompt=1,
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


def decision_of_every_state(folder: Path) -> Decision:
    """`folder` is where its tiny model is written."""
    source = replace(
        level("source", 2**30, 1.0, 50),
        quality=identical(),
        judgement=Judgement("pass"),
        passes=True,
    )
    taken = replace(level("Q6_K", 2**29, 0.01, 80), judgement=Judgement("pass"), passes=True)
    beaten, open_ = (
        replace(level("Q8_0", 2**29 + 9, 0.001, 60), beaten_by="Q6_K"),
        replace(level("Q5_K_M", 2**28, 0.03), judgement=Judgement("inconclusive")),
    )
    too_large = replace(
        level("BF16", 2**32, 0.0004),
        fits=False,
        quality=None,
        judgement=None,
        predicted=figure(0.0004, "nats/token"),
    )
    predicted = replace(
        level("IQ2_M", 2**26, 2.0),
        quality=None,
        judgement=None,
        predicted=figure(2.0, "nats/token"),
        why="predicted to lose",
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
    tasks = pair(
        *([Graded(item=item, answer="", right=right) for item in items] for right in (True, False))
    )
    at_tasks = replace(level("Q4_1", 2**28 + 9, 0.02, 70), judgement=Judgement("pass"), tasks=tasks)
    slow = replace(
        level("F32", 2**31, 0.0005, 9),
        judgement=Judgement("pass"),
        why="slower than the 20 tokens/s asked for",
    )
    return Decision(
        machine=probe_machine(), model=read_model(write_tiny_llama(folder / "tiny.gguf")),
        settings=ContextSettings(n_ctx=256),
        constraints=Constraints(tier=TIERS["balanced"], min_tokens_per_s=None,
            memory_bytes=3 * 2**30),
            candidates=(source, beaten, taken, open_, level("Q2_K", 2**27, 0.9), slow, too_large,
                predicted, small, at_tasks),
        chosen=taken, why="", uses_gpu=False, tokens_full_sweep=1, conditions={},
    )  # fmt: skip
