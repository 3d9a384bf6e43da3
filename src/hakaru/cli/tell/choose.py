"""What `hakaru choose` tells as text: the task and the machine, the rows, the recommended one and
its reason, and what was left out.
"""

from hakaru.cli.output import print_text, show_table
from hakaru.cli.table import Cell, Column, Table, bytes_cell
from hakaru.cli.tell.left_out import left_out_line, nothing_lines
from hakaru.cli.tell.two_ways import ways_line
from hakaru.cli.tell.what_it_costs import cost_lines
from hakaru.cli.wrapping import whole
from hakaru.language import say
from hakaru.models.scores import Score, scores_of
from hakaru.selection.chosen import Chosen
from hakaru.selection.contender import Contender
from hakaru.selection.speculative_row import guessing_lines
from hakaru.selection.told import (
    asked_lines,
    interval_text,
    machine_lines,
    memory_forms,
    recommended_lines,
    speed_text,
)
from hakaru.selection.why import why_parts


def print_chosen(chosen: Chosen, *, explain: bool = False) -> None:
    """The whole answer as text."""
    for line in [*asked_lines(chosen.conditions), *machine_lines(chosen.hardware)]:
        print_text(line)
    if not chosen.rows:
        for line in nothing_lines(chosen.relaxations):
            print_text(line)
    else:
        show_table(rows_table(chosen))
        ways = [ways_line(*chosen.ways)] if chosen.ways else []
        guesses = guessing_lines(chosen.rows, chosen.drafts)
        for line in [*recommended_lines(chosen), *ways, *guesses, *cost_lines(chosen)]:
            print_text(line)
    if explain:
        for line in explained_lines(chosen):
            print_text(line)
    print_text(left_out_line(chosen))


def rows_table(chosen: Chosen) -> Table:
    """Two lines for each row where the terminal is narrow: what it takes and gives; then how far
    it goes, what it costs to fetch, and why it is here.
    """
    columns = [
        Column(say("model"), left=True),
        Column(say("type"), left=True, shortens=(2,)),
        Column(say("memory"), shortens=(1, 2)),
        Column(Cell(say("tokens/s"), say("t/s")), shortens=(1,)),
        Column(say("interval"), below=1, goes=6),
        Column(Cell(say("first word"), say("first")), shortens=(1,), goes=4),
        Column(say("score")),
        Column(Cell(say("longest context"), say("context")), below=1, shortens=(1,), goes=5),
        Column(say("download"), below=1, shortens=(1,)),
        Column(say("licence"), left=True, below=1, shortens=(1,), goes=4),
        Column(say("why"), left=True, below=1, shortens=(2,)),
    ]
    return Table(columns, [_row(contender, chosen) for contender in chosen.rows])


def _row(contender: Contender, chosen: Chosen) -> list[str | Cell]:
    n_ctx = f"{contender.longest():,}"
    is_first = contender is chosen.recommended
    reasons = [say("recommended")] if is_first else why_parts(contender, chosen.search)
    licence = (contender.model.license or "?").removeprefix("LicenseRef-")
    return [
        contender.model.id,
        _type_cell(contender),
        Cell(*memory_forms(contender)),
        speed_text(contender.pace),
        interval_text(contender.pace),
        "?" if contender.first_token_s is None else f"{contender.first_token_s:.1f} s",
        f"{contender.published.value:g}" if contender.published else "-",
        n_ctx,
        bytes_cell(contender.sized.file_bytes, "GiB"),
        _licence_cell(licence, gated=contender.model.gated),
        Cell(say("; ").join(reasons), reasons[0]),
    ]


def _type_cell(contender: Contender) -> Cell:
    if contender.cache == "f16":
        return Cell(contender.type)
    return Cell(
        f"{contender.type}, KV {contender.cache}",
        f"{contender.type}+{contender.cache.split('_')[0]}",
    )


def _licence_cell(licence: str, *, gated: bool | None) -> Cell:
    mark = say(" (asks for consent)") if gated else ""
    return Cell(f"{licence}{mark}", licence[:12].rstrip("-"))


def explained_lines(chosen: Chosen) -> list[str]:
    """Every published score of the rows for this task, and how the recommended row is run."""
    lines = []
    for contender in chosen.rows:
        scores = scores_of(contender.model, chosen.conditions.task, chosen.conditions.language)
        told = [_told(score) for score in scores]
        lines.append(f"{contender.model.id}: {say('; ').join(told) or say('not measured')}")
    if first := chosen.recommended:
        lines.append(say("llama-server flags: {flags}", flags=whole(" ".join(first.flags))))
    return lines


def _told(score: Score) -> str:
    parts = [score.board.name, score.date, score.setting]
    if score.grade != "this model":
        parts.append(say("of the base model"))
    if score.doubtful:
        parts.append(say("doubtful"))
    return f"{score.benchmark} {score.value:g} ({say(', ').join(part for part in parts if part)})"
