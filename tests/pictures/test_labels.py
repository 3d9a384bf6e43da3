"""Labels stand where they cover nothing."""

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hakaru.pictures.labels import Box, Wanted, crosses, lines_of, places, text_width

ROOM = Box(0, 0, 700, 400)
marks = st.builds(
    Wanted,
    x=st.floats(30, 670),
    y=st.floats(30, 370),
    radius=st.floats(3, 14),
    width=st.floats(10, 160),
    height=st.sampled_from([14.0, 28.0]),
)


@given(st.lists(marks, max_size=9))
def test_no_label_covers_a_label_or_a_mark(wanted: list[Wanted]) -> None:
    """Whatever the marks are; a label for which there is no place is left out."""
    placed = places(wanted, ROOM, [])
    assert len(placed) == len(wanted)
    boxes = [box for box in placed if box]
    assert all(ROOM.holds(box) for box in boxes)
    assert not any(a.common(b) for a, b in combinations(boxes, 2))
    assert not any(box.common(one.mark) for box in boxes for one in wanted)


def test_a_label_goes_around_a_line() -> None:
    """A bar to the right of a mark sends its label elsewhere."""
    one = Wanted(x=300, y=200, radius=8, width=100, height=28)
    right = places([one], ROOM, [])[0]
    above = places([one], ROOM, [Box(300, 199, 420, 201)])[0]
    assert right and above
    assert right.left > 300 and above.common(Box(300, 199, 420, 201)) == 0


def test_a_label_stands_nearest_to_its_own_mark() -> None:
    """Between two marks a reader would not know whose it is."""
    first = Wanted(x=200, y=200, radius=8, width=100, height=28)
    second = Wanted(x=330, y=200, radius=8, width=100, height=28)
    for box, own, other in zip(
        places([first, second], ROOM, []), (first, second), (second, first), strict=True
    ):
        assert box and own.gap(box) < other.gap(box)


@pytest.mark.parametrize(
    ("line", "expected"),
    [((0, 0, 10, 10), True), ((0, 5, 3, 5), False), ((5, 0, 5, 9), True), ((0, 9, 9, 12), False)],
)
def test_a_line_crosses_a_box(line: tuple[float, float, float, float], expected: bool) -> None:
    """Also where it only begins or ends beside it."""
    assert crosses(line, Box(4, 4, 8, 8)) is expected


def test_texts_are_broken_where_their_language_allows_it() -> None:
    """English at blanks; Japanese anywhere, but not after an opening bracket or before a comma."""
    assert lines_of("one two three", text_width("one two", 10) + 1, 10) == ["one two", "three"]
    text = "速度（tokens/s）、測定値。" * 4
    lines = lines_of(text, 120, 11)
    assert "".join(lines) == text and len(lines) > 3
    assert not any(line.endswith("（") or line.startswith(("、", "。", "）")) for line in lines)
