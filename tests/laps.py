"""Laps that were never run, for tests of what follows from them."""

from collections.abc import Sequence

from hakaru.evaluation.acceptance import Lap, WorkAnswer
from hakaru.evaluation.work_prompts import WORK_PROMPTS
from hakaru.hardware.busy import Others

WORKS = [prompt.work for prompt in WORK_PROMPTS["en"]]


def lap_of(
    seconds: float | Sequence[float],
    *,
    n_tokens: int = 10,
    guessed: tuple[int, int] = (0, 0),
    busy: float = 0.0,
) -> Lap:
    """A lap whose answers took so long, all alike or one by one. `guessed` is how many tokens were
    guessed in each, and how many of them were right.
    """
    each = seconds if isinstance(seconds, Sequence) else [seconds] * len(WORKS)
    answers = [
        WorkAnswer(
            work=work, n_tokens=n_tokens, seconds=s, n_guessed=guessed[0], n_accepted=guessed[1]
        )
        for work, s in zip(WORKS, each, strict=True)
    ]
    return Lap(answers=tuple(answers), others=Others(processors=busy))
