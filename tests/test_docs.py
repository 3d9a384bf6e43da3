"""Documents are whole: no leftovers of a merge, and every link inside the repository leads somewhere."""

import re
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
    assert page.read_text(encoding="utf-8").splitlines()[2].startswith(("Status: in force", "Status: superseded"))
    assert f"]({page.name})" in (page.parent / "README.md").read_text(encoding="utf-8")
