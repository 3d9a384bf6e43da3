"""Published scores of models: what a board measured, with the board's name, date and licence.

`scores.json` holds one row per model and setting of each board, as the board published it. Nothing
is averaged, converted or filled in: a model without a row has no score, whatever its size. A score
is of the model's own weights as the board ran them (16 bits, or as a provider served them), not of
a quantized file; how much a type loses is what `hakaru test` measures.

`models/benchmarks.py` tells which column speaks for which task; docs/facts.md lists the boards
with their licences and makers.
"""

import json
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal

from msgspec import Struct
from msgspec.structs import replace

from hakaru.models.benchmarks import TASKS, Benchmark, Task, benchmarks_for
from hakaru.models.catalogue import KnownModel

Grade = Literal["this model", "base model"]
"""Whose score it is: this model and variant, or the model that it was trained from."""


class Board(Struct, frozen=True, kw_only=True):
    """Where scores were published."""

    id: str  # such as "swallow-2026-05"; the parts before the last dash name the board
    name: str
    by: str  # who measured: the name to give with CC-BY figures
    url: str
    source: str  # the file and its version
    licence: str  # SPDX
    date: str  # of the newest row


class Score(Struct, frozen=True, kw_only=True):
    """One figure of one model on one benchmark."""

    board: Board
    benchmark: str
    value: float
    unit: str  # "0-1" or "percent"
    higher_is_better: bool
    setting: str  # how the board ran the model, in its own words; "" where it does not tell
    date: str
    listed_as: str  # the model's name on the board
    repo: str | None  # the repository that the board's name means; None: not known
    grade: Grade = "this model"
    language: str | None = None  # of the benchmark, where it speaks for a task
    doubtful: bool = False  # shown, but nothing is decided by it: see docs/labbook.md

    def as_json(self) -> dict[str, object]:
        """For `--json`: metric, value, and all that a reader needs to find the figure again."""
        return {
            "metric": self.benchmark,
            "value": self.value,
            "unit": self.unit,
            "higher_is_better": self.higher_is_better,
            "setting": self.setting or None,
            "source": self.board.name,
            "url": self.board.url,
            "licence": self.board.licence,
            "date": self.date,
            "grade": self.grade,
            "listed_as": self.listed_as,
            "language": self.language,
            "doubtful": self.doubtful,
        }


class _Row(Struct, frozen=True):
    """What a board published of one model in one setting."""

    board: Board
    columns: list[list[str]]  # benchmark, direction, unit
    model: Mapping[str, Any]

    @property
    def repo(self) -> str | None:
        name: str | None = self.model.get("repo", self.model["name"])
        return name

    def figures(self) -> Iterator[tuple[list[str], float]]:
        """Each column that has a figure, and the figure."""
        values = self.model["values"]
        if isinstance(values, dict):
            values = [values.get(name) for name, *_ in self.columns]
        for column, value in zip(self.columns, values, strict=True):
            if value is not None:
                yield column, value

    def scores(self) -> Iterator[Score]:
        for column, value in self.figures():
            yield self._score(column, value)

    def scores_for(self, bench: Benchmark) -> Iterator[Score]:
        """The score in the column that speaks for a task, if it has a figure."""
        for column, value in self.figures():
            if column[0] == bench.name:
                yield self._score(column, value, bench.language, doubtful=bench.doubtful)

    def _score(
        self,
        column: list[str],
        value: float,
        language: str | None = None,
        *,
        doubtful: bool = False,
    ) -> Score:
        name, direction, unit = column
        return Score(
            board=self.board,
            benchmark=name,
            value=value,
            unit=unit,
            higher_is_better=direction == "higher",
            setting=self.model.get("setting", ""),
            date=self.model.get("date", self.board.date),
            listed_as=self.model["name"],
            repo=self.repo,
            language=language,
            doubtful=doubtful or self.model.get("doubtful", False),
        )


@cache
def _rows() -> tuple[_Row, ...]:
    text = Path(__file__).with_name("scores.json").read_text(encoding="utf-8")
    rows: list[_Row] = []
    for about in json.loads(text)["boards"]:
        columns, models = about.pop("benchmarks"), about.pop("rows")
        board = Board(**about)
        rows += [_Row(board, columns, model) for model in models]
    return tuple(rows)


@cache
def all_scores() -> tuple[Score, ...]:
    """Every published score, board by board."""
    return tuple(score for row in _rows() for score in row.scores())


def editions_of(benchmark: Benchmark) -> tuple[Board, ...]:
    """The editions of its board that have the benchmark, with a figure that is not doubtful."""
    if benchmark.doubtful:
        return ()
    rows = (
        row
        for row in _rows()
        if row.board.id.startswith(benchmark.board) and not row.model.get("doubtful", False)
    )
    return tuple(
        dict.fromkeys(
            row.board
            for row in rows
            if any(name == benchmark.name for (name, *_), _ in row.figures())
        )
    )


def all_boards() -> tuple[Board, ...]:
    """The boards from which scores are carried."""
    return tuple(dict.fromkeys(row.board for row in _rows()))


def scores_of(
    model: KnownModel, task: Task | None = None, language: str | None = None
) -> tuple[Score, ...]:
    """The scores of a model that speak for a task in a language; without them, all.

    Where the model itself has none of these, those of its base model, graded so. Where boards
    disagree, all their figures are there. Empty: nothing was published that may be carried.
    """
    own = _speaking(model.hf_repo, task, language)
    if own or model.base_repo is None:
        return own
    return tuple(
        replace(score, grade="base model") for score in _speaking(model.base_repo, task, language)
    )


def scores_in(model: KnownModel, language: str) -> tuple[Score, ...]:
    """The model's own scores in a language, whatever they speak for."""
    return tuple(
        score
        for task in TASKS
        for score in scores_of(model, task, language)
        if score.grade == "this model"
    )


def _speaking(repo: str, task: Task | None, language: str | None) -> tuple[Score, ...]:
    rows = _rows_by_repo().get(repo.lower(), ())
    if task is None:
        return tuple(score for row in rows for score in row.scores())
    return tuple(
        score
        for bench in benchmarks_for(task, language)
        for row in rows
        if row.board.id.startswith(bench.board)
        for score in row.scores_for(bench)
    )


@cache
def _rows_by_repo() -> Mapping[str, list[_Row]]:
    by_repo: dict[str, list[_Row]] = {}
    for row in _rows():
        if row.repo:
            by_repo.setdefault(row.repo.lower(), []).append(row)
    return by_repo
