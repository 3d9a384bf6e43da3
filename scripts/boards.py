"""Write the boards of published scores, and what each of their columns speaks for, into
docs/facts.md from the package's own tables; with --check only compare.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from between import write_between

from hakaru.models.benchmarks import TABLE, TASKS, Benchmark, Task
from hakaru.models.scores import Board, all_boards, all_scores

PAGE: Final = Path(__file__).resolve().parent.parent / "docs" / "facts.md"


def main() -> None:
    """Write or compare."""
    write_between(PAGE, "boards", tables())


def tables() -> str:
    """The boards with their makers and licences, then the columns of each task."""
    lines = ["| board | by | licence | date | models | file |", "|---|---|---|---|---|---|"]
    lines += [_board_row(board) for board in all_boards()]
    lines += [
        "",
        "| task | language | board | column | what it asks for |",
        "|---|---|---|---|---|",
    ]
    lines += [row for task in TASKS for row in _task_rows(task)]
    return "\n".join(lines) + "\n"


def _board_row(board: Board) -> str:
    models = {score.listed_as for score in all_scores() if score.board == board}
    return (
        f"| [{board.name}]({board.url}) | {board.by} | {board.licence} | {board.date} | "
        f"{len(models)} | `{board.source}` |"
    )


def _task_rows(task: Task) -> Iterator[str]:
    columns: list[Benchmark] = [bench for bench in TABLE if bench.task == task]
    for bench in columns:
        doubt = " (doubtful: decides nothing)" if bench.doubtful else ""
        yield f"| {task} | {bench.language} | {bench.board} | {bench.name} | {bench.why}{doubt} |"
    if not columns:
        yield f"| {task} | - | - | - | no board whose figures may be carried |"


if __name__ == "__main__":
    main()
