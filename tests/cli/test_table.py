"""A table that fits its terminal."""

import pytest

from hakaru.cli.table import Cell, Column, Line, Table
from hakaru.cli.wrapping import cells_of

TABLE = Table(
    [
        Column("モデル", left=True),
        Column(Cell("loss, mean", "loss"), shortens=(1,)),
        Column("speed", shortens=(2,), below=1),
        Column("picture", left=True, shortens=(1, 3), goes=4, below=1),
    ],
    [
        [
            "元のまま",
            Cell("0.0200 [0.0190…0.0210]", "0.02", style="green"),
            "9",
            Cell("█" * 30, "█"),
        ],
        ["Q4_K_M", "1", Cell("60.2 [52.1…61.2]", "60"), Cell("▓" * 30, "▓" * 20, "▓")],
    ],
)


def texts(lines: list[Line]) -> list[str]:
    return ["".join(text for text, _ in line) for line in lines]


@pytest.mark.parametrize("width", range(16, 130))
def test_every_width_is_kept_and_no_cell_is_split(width: int) -> None:
    """Not one line is too wide or ends with a blank, and every name stands whole."""
    lines = texts(TABLE.lines(width))
    assert max(map(cells_of, lines)) <= width
    assert all(line == line.rstrip() and line for line in lines)
    assert sum("元のまま" in line for line in lines) == sum("Q4_K_M" in line for line in lines) == 1


def test_columns_take_their_turns() -> None:
    """With room all is there; then the interval goes, the bar becomes short and goes, and at last
    a row takes two lines.
    """
    assert texts(TABLE.lines(120)) == [
        "モデル                loss, mean             speed  picture",
        "元のまま  0.0200 [0.0190…0.0210]                 9  ██████████████████████████████",
        "Q4_K_M                         1  60.2 [52.1…61.2]  ▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓",
    ]
    assert texts(TABLE.lines(60))[2] == "Q4_K_M       1  60.2 [52.1…61.2]  ▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓"
    assert texts(TABLE.lines(30))[1:] == ["元のまま  0.02      9  █", "Q4_K_M       1     60  ▓"]
    assert texts(TABLE.lines(22))[1:] == ["元のまま  0.02      9", "Q4_K_M       1     60"]
    assert texts(TABLE.lines(20)) == [
        "モデル    loss", "  speed  picture",
        "元のまま  0.02", "      9  █",
        "Q4_K_M       1", "     60  ▓",
    ]  # fmt: skip
    assert texts(TABLE.lines(9))[:3] == ["モデル: 元のまま", "  loss: 0.02", "  speed: 9"]


def test_a_pipe_gets_all_of_it() -> None:
    """In full, a row in a line."""
    assert texts(TABLE.lines(None)) == texts(TABLE.lines(1000))
    assert TABLE.full()[0][1] == "0.0200 [0.0190…0.0210]"
    assert TABLE.head() == ["モデル", "loss, mean", "speed", "picture"]


def test_a_style_stays_with_its_cell() -> None:
    """And blanks have none, so that nothing is underlined between columns."""
    styled = [piece for line in TABLE.lines(60) for piece in line if piece[1] == "green"]
    assert styled == [("0.02", "green")]
