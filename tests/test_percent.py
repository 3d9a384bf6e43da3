"""A percentage is written `94.1%` everywhere: in both languages, in tables, sentences and pages."""

import re
import subprocess
from pathlib import Path

from hakaru.language import japanese

ROOT = Path(__file__).parent.parent
APART = re.compile(r"[\d}\])…] ?(?: %(?![\w(*}])|％)")
"""A percent sign with a space before it, or in full width."""
READ_BY_PEOPLE = ("*.md", "src/**/*.html", "src/**/*.json", "tests/cli/whole/*.txt")


def test_no_sentence_parts_a_number_from_its_percent_sign() -> None:
    """The English of the catalogue is what the source says."""
    texts = [text for pair in japanese().items() for text in pair]
    assert [text for text in texts if APART.search(text)] == []


def test_no_page_and_no_recorded_output_does() -> None:
    """README, documents, pages in the browser, and what commands print."""
    found = subprocess.run(
        ["git", "ls-files", *READ_BY_PEOPLE], cwd=ROOT, capture_output=True, text=True, check=True
    )
    pages = [ROOT / name for name in found.stdout.split()]
    assert len(pages) > 40
    parted = {
        page.name: [
            line for line in page.read_text(encoding="utf-8").splitlines() if APART.search(line)
        ]
        for page in pages
        if page.exists()
    }
    assert {name: lines for name, lines in parted.items() if lines} == {}


def test_no_figure_that_code_puts_together_does() -> None:
    """A value and its sign in an f-string, such as the share of a table's cell."""
    apart = re.compile(r"\} %(?=[\"'\s])")
    sources = (ROOT / "src").rglob("*.py")
    assert [path.name for path in sources if apart.search(path.read_text(encoding="utf-8"))] == []
