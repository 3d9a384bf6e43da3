"""The report of a test, as one HTML file that needs nothing else, or its pictures alone.

It tells the verdict and the figures as a table. The pictures show how the interval closed while
windows were read, the loss by kind of text, and the speed behind long contexts and for several
users.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from msgspec import Struct

from hakaru.errors import Misuse
from hakaru.evaluation.divergence import quality_of
from hakaru.evaluation.judgement import judge
from hakaru.evaluation.losses import Row
from hakaru.evaluation.sequences import LEAST_SPREAD, LEAST_WINDOWS, looks
from hakaru.evaluation.speed import Point, Speed
from hakaru.evaluation.texts import kind_of_text
from hakaru.evaluation.tiers import Quality, Tier
from hakaru.language import say
from hakaru.pictures.bound import bound_line
from hakaru.pictures.page_file import save_page
from hakaru.pictures.save import format_of, save_chart
from hakaru.units import Figure

BLUE, GREY = "#0b4f6c", "#555555"


class Report(Struct, frozen=True, kw_only=True):
    """What a report tells and what its pictures show."""

    title: str
    sentences: Sequence[str]
    head: Sequence[str]  # the first row of the table
    table: Sequence[Sequence[str]]
    quality: Quality | None  # by kind of text; None: nothing was read
    rows: Sequence[Row]  # the sums of the windows that were read
    tier: Tier
    speed: Speed | None = None  # at an empty context
    points: Sequence[Point] = ()  # speeds behind long contexts and for several users

    @property
    def has_pictures(self) -> bool:
        """Whether there is anything to draw."""
        return bool(self.rows or self.points)

    @property
    def is_drawable(self) -> bool:
        """Whether enough windows were read to draw the interval."""
        return len(self.rows) >= LEAST_WINDOWS


def report_so_far(
    title: str,
    rows: Sequence[Row],
    domains: Sequence[str],
    tier: Tier,
    *,
    end: Sequence[str] | None = None,
) -> Report:
    """The report of a test that still runs, or has ended with the sentences `end`. `rows` are the
    sums of the windows that were read, `domains` the kinds of text of all windows.
    """
    quality = quality_of(rows, domains) if rows else None
    words = {"pass": say("passed"), "fail": say("failed"), "inconclusive": say("not known yet")}
    verdict = words[judge(rows, domains, tier).verdict]
    sentences = end or [say("Tier {tier}: {verdict}.", tier=tier.name, verdict=verdict)]
    read = say("{n} of {total} windows read", n=len(rows), total=len(domains))
    table = _losses(quality) if quality else []
    return Report(
        title=title,
        sentences=[*sentences, read],
        head=(),
        table=table,
        quality=quality,
        rows=rows,
        tier=tier,
    )


def _losses(quality: Quality) -> list[list[str]]:
    """The mean divergence, of all text and of each kind, with its interval."""
    kinds = {
        say("{figure}, {kind}", figure="KLD", kind=kind_of_text(name)): f
        for name, f in quality.domains.items()
    }
    figures = {say("mean KLD"): quality.kld_mean, **kinds}
    return [
        [name, f"{f.value:.5f} [{f.lowest:.5f}…{f.highest:.5f}]"] for name, f in figures.items()
    ]


def save_report(report: Report, path: Path) -> None:
    """Write the report to `path`, whole or not at all. Raises Misuse, MachineError."""
    chart = None
    if report.has_pictures:
        import altair  # half a second at import

        chart = report_chart(report, altair)
    save_page(
        path,
        title=report.title,
        sentences=report.sentences,
        head=report.head,
        table=report.table,
        chart=chart,
    )


def save_report_picture(report: Report, path: Path) -> None:
    """Write the report's pictures to `path`. Raises Misuse if `path` does not end like a picture or
    there is nothing to draw, MachineError.
    """
    format_of(path)
    if not report.has_pictures:
        raise nothing_to_draw(path)
    import altair

    save_chart(report_chart(report, altair), path)


def nothing_to_draw(path: Path) -> Misuse:
    """The error for a picture of a test that reads no windows and times no loads."""
    return Misuse(
        "`plot` {path}: there is nothing to draw; name a `reference`, or ask for `full_speed`.",
        path=path,
    )


def chart_svg(report: Report) -> str:
    """The report's pictures as SVG, for a page."""
    import altair
    import vl_convert

    return str(vl_convert.vegalite_to_svg(report_chart(report, altair).to_json()))


def report_chart(report: Report, altair: Any) -> Any:
    """The loss above, the speed below; what was not measured is left out."""
    rows = []
    if report.rows:
        rows.append(altair.hconcat(_closing(report, altair), _kinds(report, altair)))
    if report.points:
        rows.append(_loads(report, altair))
    return altair.vconcat(*rows)


def _closing(report: Report, altair: Any) -> Any:
    """The confidence sequence of the mean KLD, closing as windows are read."""
    n, kld = (np.array([row[key] for row in report.rows], dtype=np.float64) for key in ("n", "kld"))
    bound = report.tier.kld_mean
    low, high = looks(kld, n, least_spread=LEAST_SPREAD * bound)
    mean = kld.cumsum() / n.cumsum()
    steps = [
        {"windows": i + 1, "kld": float(m), "low": max(float(lo), 0.0), "high": float(hi)}
        for i, (m, lo, hi) in enumerate(zip(mean, low, high, strict=True))
        if np.isfinite(hi)
    ]
    x = altair.X("windows:Q", title=say("windows read"))
    y = altair.Y("kld:Q", title=say("mean KLD, nats per token"))
    base = altair.Chart(altair.Data(values=steps))
    band = base.mark_area(opacity=0.25, color=BLUE).encode(
        x=x, y=altair.Y("low:Q", title=say("mean KLD, nats per token")), y2="high:Q"
    )
    line = base.mark_line(color=BLUE).encode(x=x, y=y)
    return altair.layer(band, line, *bound_line(altair, bound, y)).properties(
        width=400, height=260, title=say("what was known, window after window")
    )


def _kinds(report: Report, altair: Any) -> Any:
    """The mean KLD of every kind of text with its interval."""
    figures = report.quality.domains if report.quality else {}
    kinds = [
        {"kind": kind_of_text(name), "kld": f.value, "low": f.lowest, "high": f.highest}
        for name, f in figures.items()
    ]
    kind = altair.Y("kind:N", title=None, sort=[kind["kind"] for kind in kinds])
    base = altair.Chart(altair.Data(values=kinds))
    spans = base.mark_rule(color=GREY).encode(
        y=kind, x=altair.X("low:Q", title=say("mean KLD, nats per token")), x2="high:Q"
    )
    points = base.mark_point(filled=True, size=90, color=BLUE, opacity=1).encode(y=kind, x="kld:Q")
    edge = (
        altair.Chart(altair.Data(values=[{"kld": report.tier.kld_mean}]))
        .mark_rule(strokeDash=[5, 3], color="black")
        .encode(x="kld:Q")
    )
    return altair.layer(spans, points, edge).properties(
        width=320, height=260, title=say("by kind of text")
    )


def _loads(report: Report, altair: Any) -> Any:
    """Decoding behind long contexts, and for several users together, each with its interval."""
    speed = report.speed
    empty = [] if speed is None else [{"at": 0, **_spanned(speed.decode_tokens_per_s)}]
    depths = [
        *empty,
        *({"at": p.depth, **_spanned(p.decode_tokens_per_s)} for p in report.points if p.depth),
    ]
    users = [
        {"at": p.users, **_spanned(p.decode_tokens_per_s)} for p in report.points if not p.depth
    ]

    def panel(rows: list[dict[str, Any]], x: Any, title: str) -> Any:
        base = altair.Chart(altair.Data(values=rows))
        y = altair.Y("rate:Q", title=say("decode, tokens/s"), scale=altair.Scale(zero=True))
        spans = base.mark_rule(color=GREY).encode(
            x=x, y=altair.Y("low:Q", title=say("decode, tokens/s")), y2="high:Q"
        )
        line = base.mark_line(color=BLUE, point={"filled": True, "size": 70, "color": BLUE}).encode(
            x=x, y=y
        )
        return altair.layer(spans, line).properties(width=360, height=220, title=title)

    panels = []
    if len(depths) > 1:
        x = altair.X("at:Q", title=say("tokens of context before the answer"))
        panels.append(panel(depths, x, say("speed against depth")))
    if users:
        ticks = altair.Axis(values=[row["at"] for row in users])
        wide = altair.Scale(type="log", base=2)
        x = altair.X("at:Q", title=say("users at the same time"), axis=ticks, scale=wide)
        panels.append(panel(users, x, say("speed of all together")))
    return altair.hconcat(*panels)


def _spanned(figure: Figure) -> dict[str, float]:
    """A rate with its interval, as the values of a mark."""
    return {"rate": figure.value, "low": figure.lowest, "high": figure.highest}
