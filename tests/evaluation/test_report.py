"""The report of a test: one file that needs nothing else, and that believes nothing that a model's name says."""

from pathlib import Path

import numpy as np
import pytest

from hakaru.errors import Misuse
from hakaru.evaluation.divergence import identical, quality_of
from hakaru.evaluation.tiers import TIERS
from hakaru.pictures.report import Report, check_report, save_report


@pytest.fixture
def report() -> Report:
    """Forty windows in two kinds of text."""
    dice = np.random.default_rng(4)
    rows = [
        {
            "n": 100.0,
            "kld": 100 * float(dice.gamma(3, 0.004)),
            "klds": [0.01] * 100,
            "agreed": 95.0,
            "nll_reference": 200.0,
            "nll_candidate": 201.0,
        }
        for _ in range(40)
    ]
    quality = quality_of(rows, ["code", "prose-en"] * 20)
    return Report(title="<script>alert(1)</script>", sentences=["Tier balanced: passed.", "a < b"], head=["figure", "value"],
                  table=[["mean KLD", "0.01"]], quality=quality, rows=rows, tier=TIERS["balanced"])  # fmt: skip


def test_the_report_is_whole_and_escapes_what_it_is_given(report: Report, tmp_path: Path) -> None:
    """The pictures' library is in it, nothing is fetched, and a name is no script."""
    path = tmp_path / "report.html"
    save_report(report, path)
    page = path.read_text(encoding="utf-8")
    assert "<script>alert(1)</script>" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert "a &lt; b" in page
    assert 'src="http' not in page
    assert "vegaEmbed" in page
    assert "prose-en" in page


def test_a_report_without_windows_has_no_pictures(report: Report, tmp_path: Path) -> None:
    """A model against itself: the table alone."""
    path = tmp_path / "report.html"
    save_report(Report(title="a", sentences=[], head=[], table=[], quality=identical(), rows=[], tier=report.tier), path)
    assert "vega" not in path.read_text(encoding="utf-8")
    with pytest.raises(Misuse, match=r"ends in \.html"):
        check_report(tmp_path / "report.pdf")
