"""The report of a test: one file that needs nothing else, and that believes nothing that a model's
name says.
"""

from pathlib import Path

import altair
import numpy as np
import pytest
from msgspec.structs import replace

from hakaru.errors import Misuse
from hakaru.evaluation.divergence import identical, quality_of
from hakaru.evaluation.speed import Point, Speed
from hakaru.evaluation.tiers import TIERS
from hakaru.language import use_language
from hakaru.pictures.page_file import check_report
from hakaru.pictures.report import Report, chart_svg, report_chart, save_report, save_report_picture
from hakaru.units import Figure


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
    return Report(title="<script>alert(1)</script>", sentences=["Tier balanced: passed.", "a < b"],
        head=["figure", "value"],
                  table=[["mean KLD", "0.01"]], quality=quality, rows=rows,
                  tier=TIERS["balanced"])  # fmt: skip


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
    assert '<html lang="en">' in page
    assert page.lower().count("<!doctype") == 1, "a page, not a page in a page"


def test_a_report_is_in_the_language_of_the_command(report: Report, tmp_path: Path) -> None:
    """It says which, and calls the kinds of text by words, not by their keys in JSON."""
    for language, kind in (("en", "English prose"), ("ja", "英語の文章")):
        use_language(language)
        save_report(report, path := tmp_path / "report.html")
        page = path.read_text(encoding="utf-8")
        assert f'<html lang="{language}">' in page
        assert kind in page
        assert "prose-en" not in page
        svg = chart_svg(report)
        assert kind in svg
        assert "prose-en" not in svg


def rate(value: float) -> Figure:
    return Figure(
        value=value, unit="tokens/s", source="measured", low=0.9 * value, high=1.1 * value
    )


@pytest.mark.parametrize(("ending", "begin"), [(".svg", b"<svg"), (".png", b"\x89PNG")])
def test_the_pictures_can_be_had_alone(
    report: Report, tmp_path: Path, ending: str, begin: bytes
) -> None:
    """With the speeds where they were asked for; what cannot be drawn is said."""
    speed = Speed(
        decode_tokens_per_s=rate(100),
        prefill_tokens_per_s=rate(900),
        first_token_ms=rate(9),
        n_prompt=128,
        n_predict=48,
        repeats=6,
    )
    loads = [(2048, 1, 80.0), (8192, 1, 50.0), (0, 1, 99.0), (0, 2, 150.0), (0, 4, 180.0)]
    points = [
        Point(depth=d, users=u, decode_tokens_per_s=rate(r), first_token_ms=rate(9))
        for d, u, r in loads
    ]
    path, whole = tmp_path / f"report{ending}", replace(report, speed=speed, points=points)
    save_report_picture(whole, path)
    assert path.read_bytes().startswith(begin)
    chart = report_chart(whole, altair).to_dict()
    depth, users = (panel["data"]["values"] for panel in chart["vconcat"][1]["hconcat"])
    assert [(row["at"], row["rate"]) for row in depth] == [(0, 100), (2048, 80), (8192, 50)]
    assert [row["at"] for row in users] == [1, 2, 4]
    assert all(row["low"] < row["rate"] < row["high"] for row in [*depth, *users])
    with pytest.raises(Misuse, match="nothing to draw"):
        save_report_picture(replace(report, rows=[]), path)


def test_a_report_without_windows_has_no_pictures(report: Report, tmp_path: Path) -> None:
    """A model against itself: the table alone."""
    path = tmp_path / "report.html"
    save_report(
        Report(
            title="a",
            sentences=[],
            head=[],
            table=[],
            quality=identical(),
            rows=[],
            tier=report.tier,
        ),
        path,
    )
    assert "vega" not in path.read_text(encoding="utf-8")
    with pytest.raises(Misuse, match=r"ends in \.html"):
        check_report(tmp_path / "report.pdf")
