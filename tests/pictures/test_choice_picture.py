"""The picture of a choice shows every row where it belongs, with its interval and its error."""

from functools import cache
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from msgspec.structs import replace

from hakaru.errors import MachineError, Misuse
from hakaru.language import use_language
from hakaru.models.benchmarks import Task
from hakaru.pictures.choice_layout import choice_layout, notes
from hakaru.pictures.choice_picture import choice_svg, save_choice_picture, title
from hakaru.pictures.labels import Box
from hakaru.pictures.plane import NARROW
from hakaru.pictures.save import check_picture
from hakaru.selection.boards import better_up, standard_error
from hakaru.selection.choose import choose
from hakaru.selection.chosen import Chosen

CASES: tuple[tuple[Task, str, str], ...] = (
    ("chat", "ja", "RTX 4090"),
    ("code", "en", "RTX 3060 12GB + 32GiB RAM"),
    ("rag", "en", "M4 Max 64GB"),
    ("vision", "en", "2x L4"),
    ("chat", "ja", "12GiB RAM"),
)


@cache
def chosen_for(task: Task, language: str, hardware: str, top: int = 10) -> Chosen:
    return choose(task, language=language, hardware=hardware, top=top)


@pytest.fixture(params=CASES, ids=lambda case: f"{case[0]} on {case[2]}")
def chosen(request: Any) -> Chosen:
    return chosen_for(*request.param)


def test_every_row_has_a_mark_and_a_name(chosen: Chosen) -> None:
    """Also those without a score, which stand below the panel; one mark is the recommended row."""
    layout = choice_layout(chosen)
    assert sorted(mark.number for mark in layout.marks) == list(range(1, len(chosen.rows) + 1))
    assert [mark.number for mark in layout.marks if mark.state == "taken"] == [1]
    assert {label.name for label in layout.labels} == {row.model.id for row in chosen.rows}
    for mark in layout.marks:
        row = chosen.rows[mark.number - 1]
        assert (mark.error is None) == (row.published is None) == (mark.y > layout.plane.middle)


def test_better_is_higher_and_faster_is_to_the_right(chosen: Chosen) -> None:
    """In the order of the figures, whichever way the column counts; intervals reach around."""
    layout = choice_layout(chosen)
    scored = [(chosen.rows[m.number - 1], m) for m in layout.marks if m.error]
    by_score = sorted(
        scored, key=lambda pair: better_up(pair[0].published) if pair[0].published else 0
    )
    assert [m.y for _, m in by_score] == sorted((m.y for _, m in scored), reverse=True)
    drawn = [(chosen.rows[m.number - 1], m) for m in layout.marks]
    is_speed = layout.plane.across == "speed"
    by_x = sorted(
        drawn,
        key=lambda pair: pair[0].pace.value if is_speed and pair[0].pace else pair[0].memory_bytes,
    )
    assert [m.x for _, m in by_x] == sorted(m.x for _, m in drawn)
    for _, mark in drawn:
        assert mark.error is None or mark.error[0] < mark.y < mark.error[1]
        assert mark.span is None or mark.span[0] <= mark.x <= mark.span[1]
        assert layout.plane.left < mark.x < layout.plane.right


def test_nothing_overlaps(chosen: Chosen) -> None:
    """No label stands on a mark; that labels do not cover each other is a test of its own. By the
    wide letters of the estimate.
    """
    for width in (720, NARROW):
        layout = choice_layout(chosen, width=width)
        for label in layout.labels:
            for mark in layout.marks:
                x = {"start": 1, "middle": 0, "end": -1}[label.anchor]
                box = Box(label.x - 2 + x * 3, label.y - 8, label.x + 2 + x * 3, label.y)
                edge = mark.radius - 0.5
                square = Box(mark.x - edge, mark.y - edge, mark.x + edge, mark.y + edge)
                assert box.common(square) == 0


def test_the_stairs_go_down_through_rows_that_none_beats(chosen: Chosen) -> None:
    """From the best score to the lower edge; no mark of a row with a score lies beyond them."""
    layout = choice_layout(chosen)
    if not layout.plane.scored:
        assert layout.stairs == []
        return
    ys = [y for _, y in layout.stairs]
    assert ys == sorted(ys) and ys[-1] == layout.plane.middle
    side = 1 if layout.plane.across == "speed" else -1
    for mark in layout.marks:
        if mark.error:
            reached = max(side * x for x, y in layout.stairs if y >= mark.y - 0.05)
            assert side * mark.x <= reached + 0.05


def test_the_pace_that_is_wished_for_is_a_line() -> None:
    """Between the rows that miss it and those that keep it."""
    chosen = chosen_for("code", "en", "RTX 3060 12GB + 32GiB RAM")
    layout = choice_layout(chosen)
    assert layout.limit and layout.limit.text == "wished for: 10 tokens/s"
    for mark in layout.marks:
        pace = chosen.rows[mark.number - 1].pace
        assert pace and (mark.x < layout.limit.x) == (pace.value < 10)
        assert (mark.state == "misses") == (pace.value < 10)


def test_without_speeds_the_memory_is_across() -> None:
    """Before a processor was timed nothing is invented: no interval, and the memory that there
    is.
    """
    layout = choice_layout(chosen_for("chat", "ja", "12GiB RAM"))
    assert layout.across == "memory, GiB"
    assert layout.limit and layout.limit.text == "usable: 12.0 GiB"
    assert all(mark.span is None for mark in layout.marks)
    assert not any("speeds" in note for note in notes(layout))


def test_a_machine_without_a_name_is_this_machine() -> None:
    """RAM alone would name nothing."""
    chosen = chosen_for("chat", "ja", "12GiB RAM")
    here = replace(chosen, hardware=replace(chosen.hardware, text=""))
    assert title(here) == "chat (Japanese) on this machine"


def test_a_column_that_counts_errors_says_so() -> None:
    """Fewer are higher up."""
    layout = choice_layout(chosen_for("rag", "en", "M4 Max 64GB"))
    assert layout.upwards == "hallucination_rate_percent, less is better and higher up"
    heights = {float(tick.text): tick.at for tick in layout.y_ticks}
    assert heights[5] < heights[10] < heights[20]


def test_the_bar_of_a_score_is_one_standard_error() -> None:
    """By hand: MT-Bench has 160 questions, so .2 / sqrt(160) = .0158 on each side."""
    chosen = chosen_for("chat", "ja", "RTX 4090")
    score = chosen.rows[0].published
    assert score and standard_error(score) == pytest.approx(0.0158, abs=1e-4)
    layout = choice_layout(chosen)
    mark, error = layout.marks[0], layout.marks[0].error
    assert error and error[0] == pytest.approx(layout.plane.y.at(score.value + 0.0158), abs=0.1)
    assert error[1] - mark.y == pytest.approx(mark.y - error[0], abs=0.2)


def test_a_phone_gets_numbers() -> None:
    """Those of the rows, as a table beside the picture has them."""
    layout = choice_layout(chosen_for("chat", "ja", "RTX 4090"), width=NARROW)
    assert {label.name for label in layout.labels} == {str(n) for n in range(1, 11)}
    assert layout.width == NARROW


def test_the_types_of_one_model_need_no_name() -> None:
    """The type says which row it is."""
    chosen = choose("chat", hardware="RTX 4090", model="qwen3-8b")
    names = {label.name for label in choice_layout(chosen).labels}
    assert {"Q8_0", "Q4_K_M"} <= names and "qwen3-8b" not in names


def test_many_rows_still_have_their_names() -> None:
    """The picture grows with them."""
    chosen = chosen_for("chat", "en", "RTX 4090", 20)
    layout = choice_layout(chosen)
    assert (
        len(chosen.rows) == 20
        and layout.height > choice_layout(chosen_for("chat", "en", "RTX 4090")).height
    )
    assert len(layout.labels) >= 18


def _texts(svg: str) -> list[str]:
    root = ElementTree.fromstring(svg)
    return ["".join(node.itertext()) for node in root.iter() if node.tag.endswith("text")]


@pytest.mark.parametrize("language", ["en", "ja"])
def test_the_file_tells_everything_in_the_reader_s_language(language: str) -> None:
    """The task and the machine, the axes, what the marks mean, and whose scores they are."""
    use_language(language)
    texts = _texts(choice_svg(chosen_for("chat", "ja", "RTX 4090")))
    wanted = {
        "en": ("chat (Japanese) on RTX 4090", "decode, tokens/s", "recommended"),
        "ja": ("RTX 4090 での chat（日本語）", "生成（トークン/秒）", "推奨"),
    }[language]
    assert set(wanted) <= set(texts)
    assert "gemma-4-26b-a4b-it" in texts and "ja_mtb/avg" in texts
    assert any("Swallow LLM Leaderboard v2" in text for text in texts)


@pytest.mark.parametrize(("ending", "begin"), [(".svg", b"<svg"), (".png", b"\x89PNG")])
def test_it_is_written_by_its_ending(tmp_path: Path, ending: str, begin: bytes) -> None:
    """Whole; another ending is refused."""
    path, chosen = tmp_path / f"rows{ending}", chosen_for("vision", "en", "2x L4")
    save_choice_picture(chosen, path)
    assert path.read_bytes().lstrip().startswith(begin)
    with pytest.raises(Misuse, match=r"expected \.svg or \.png"):
        save_choice_picture(chosen, tmp_path / "rows.gif")


def test_a_png_without_japanese_letters_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before anything is measured; an SVG is drawn by whoever reads it."""
    monkeypatch.setattr("hakaru.pictures.save.has_japanese_font", lambda: False)
    check_picture(tmp_path / "rows.png")
    use_language("ja")
    check_picture(tmp_path / "rows.svg")
    with pytest.raises(MachineError, match="日本語のフォント"):
        check_picture(tmp_path / "rows.png")
