"""The column of a board by which models are compared for a task, and how much chance is in it.
Pure.

For each task and language one column leads: the first benchmark of `models/benchmarks`, in the
newest edition of its board. Only models that this edition measured are compared: an edition may
have other questions and another judge, by which old models look better than new ones. The other
columns that speak for the task are shown and decide nothing; where one of them would recommend
another row, that is said.

Boards publish no errors. Two scores are told apart where they differ by more than one standard
error of a difference, which follows from the number of questions (`QUESTIONS`); the questions are
the same for both models, so the true error is smaller.
"""

import math
from functools import cache
from typing import Final

from msgspec import Struct

from hakaru.models.benchmarks import Task, benchmarks_for
from hakaru.models.catalogue import KnownModel, catalogue_date
from hakaru.models.scores import Score, editions_of, scores_of

QUESTIONS: Final = {
    "ja_mtb/avg": 160, "en_mtb/avg": 160, "ja_mtb/coding": 20, "en_mtb/coding": 20,
    "en_post/LCB": 400, "ja_post/JHumanEval": 164, "en_post/GPQA": 198, "ja_post/GPQA": 198,
    "hallucination_rate_percent": 7700, "ja_basic/JSQuAD": 4442, "Live Acc": 2251,
    "JaqketRetrieval": 997, "NFCorpus": 323,
}  # fmt: skip
"""Questions of a benchmark, as its makers tell; two turns of MT-Bench count as two. Those of
LiveCodeBench depend on the edition: assumed.
"""
LEAST_ANSWERED: Final = {"hallucination_rate_percent": ("answer_rate_percent", 90.0)}
"""By a column that counts what is wrong in answers, the column that counts answers, and the least
of it: whoever answers little says little that is wrong.
"""
FEWEST: Final = 100  # assumed for a benchmark that is not listed
JUDGED: Final = 0.2
"""Standard deviation of one judged answer on a scale of 0 to 1: assumed. That of an answer that is
right or wrong follows from the score.
"""


class Lead(Struct, frozen=True, kw_only=True):
    """The column that leads for a task in a language."""

    board: str  # the edition's id
    benchmark: str
    language: str

    def score_of(self, model: KnownModel, task: Task) -> Score | None:
        """The model's own score in this column, the best of its settings; None without one."""
        own = [
            score
            for score in scores_of(model, task, self.language)
            if (score.board.id, score.benchmark) == (self.board, self.benchmark)
            and score.grade == "this model"
            and not score.doubtful
        ]
        return max(own, key=better_up, default=None)

    def answered(self, model: KnownModel, task: Task) -> float | None:
        """How many answers the model gave, in percent, if they are too few for its score to mean
        anything; else None.
        """
        if self.benchmark not in LEAST_ANSWERED:
            return None
        name, least = LEAST_ANSWERED[self.benchmark]
        values = [
            score.value
            for score in scores_of(model, task, self.language)
            if (score.board.id, score.benchmark) == (self.board, name)
        ]
        return min(values) if values and min(values) < least else None


@cache
def columns_for(task: Task, language: str) -> tuple[Lead, ...]:
    """The columns that speak for the task, each in the newest edition of its board: the one that
    leads is the first. An edition that is older than a year when the catalogue was read knows none
    of the newer models, and is left out.
    """
    columns = []
    for benchmark in benchmarks_for(task, language):
        editions = {board.date: board.id for board in editions_of(benchmark)}
        if editions and max(editions)[:7] >= a_year_before(catalogue_date()):
            columns.append(
                Lead(board=editions[max(editions)], benchmark=benchmark.name, language=language)
            )
    return tuple(columns)


def lead_for(task: Task, language: str) -> Lead | None:
    """The column that leads: in the language, else in English, which is a hint and said to be no
    more. None where no board of the last year speaks for the task.
    """
    return next(iter((*columns_for(task, language), *columns_for(task, "en"))), None)


def a_year_before(day: str) -> str:
    """The month of the year before, such as 2025-11 for 2026-11-22."""
    return f"{int(day[:4]) - 1}{day[4:7]}"


def better_up(score: Score) -> float:
    """The score turned so that more is better."""
    return score.value if score.higher_is_better else -score.value


def standard_error(score: Score) -> float:
    """One standard error of the score, in its unit, by the number of questions."""
    scale = 1.0 if score.unit == "0-1" else 100.0
    part = min(1.0, max(0.0, score.value / scale))
    deviation = JUDGED if "_mtb/" in score.benchmark else math.sqrt(part * (1 - part))
    return scale * deviation / math.sqrt(QUESTIONS.get(score.benchmark, FEWEST))


def noise_of(score: Score) -> float:
    """One standard error of the difference between two models with about this score."""
    return math.sqrt(2) * standard_error(score)


def ties(score: Score, best: Score) -> bool:
    """Whether chance alone may have put `best` ahead of `score`."""
    return better_up(best) - better_up(score) <= noise_of(best)
