"""Documents are whole: no leftovers of a merge, and every link inside the repository leads
somewhere.
"""

import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_page_is_whole(page: Path) -> None:
    """Nothing of a merge stands in it, and what it links to exists."""
    text = page.read_text(encoding="utf-8")
    assert not re.search(r"^(<<<<<<<|=======|>>>>>>>)", text, re.MULTILINE)
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
        assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", sorted(ROOT.glob("docs/decisions/0*.md")), ids=lambda p: p.stem)
def test_a_decision_says_whether_it_holds(page: Path) -> None:
    """Its third line is its status, and the folder's list has the page."""
    assert (
        page.read_text(encoding="utf-8")
        .splitlines()[2]
        .startswith(("Status: in force", "Status: superseded"))
    )
    assert f"]({page.name})" in (page.parent / "README.md").read_text(encoding="utf-8")


def prose(page: Path) -> Iterator[tuple[int, str]]:
    """The lines of a page with their numbers, without tables and code, which cannot be broken."""
    is_code = False
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        is_code ^= line.startswith("```")
        if not is_code and not line.startswith(("|", "    ")):
            yield number, line


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_lines_end_at_100_columns(page: Path) -> None:
    """A Japanese character takes two columns."""
    wide = [
        number
        for number, line in prose(page)
        if sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in line)
        > 100
    ]
    assert wide == []


@pytest.mark.parametrize(
    "page",
    [p for p in PAGES if "decisions" not in p.parts and p.stem not in {"labbook", "CHANGELOG"}],
    ids=lambda p: p.name,
)
def test_paths_that_a_page_names_exist(page: Path) -> None:
    """`src/hakaru/…`, `benchmarks/…`, `scripts/…`: pages that tell the past are left out."""
    for path in re.findall(
        r"`((?:src/hakaru|benchmarks|scripts|docs|tests)/[\w./-]+)`",
        page.read_text(encoding="utf-8"),
    ):
        assert (ROOT / path).exists(), path


@pytest.mark.parametrize("page", sorted(ROOT.glob("docs/*.ja.md")), ids=lambda p: p.name)
def test_a_japanese_page_has_the_figures_of_the_english_one(page: Path) -> None:
    """Every figure with a decimal point or a thousands comma: the English page states it, too."""
    english = figures(page.with_name(page.name.replace(".ja.md", ".md")))
    assert sorted(figures(page) - english) == []


def figures(page: Path) -> set[str]:
    """The numbers of a page, without its transcripts, that have a decimal point or a comma."""
    text = re.sub(
        r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL
    )
    numbers = re.findall(r"(?<![\w.,])(?:\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d*\.\d+)", text)
    return {number.replace(",", "").lstrip("0") for number in numbers}
