"""The report of a test as one HTML file that needs nothing else: the verdict, the figures as a table, the interval closing as windows were
read, and the loss by kind of text.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any, Final

import numpy as np

from hakaru.errors import Misuse
from hakaru.evaluation.sequences import LEAST_SPREAD, looks
from hakaru.evaluation.tiers import Quality, Tier
from hakaru.language import say
from hakaru.pictures.bound import bound_line
from hakaru.places import written_whole
from hakaru.tuning.bench import Row

PAGE: Final = """<!doctype html>
<html><head><meta charset="utf-8"><title>{title}</title>
<style>body{{font-family:system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#111;background:#fff}}
table{{border-collapse:collapse;margin:1rem 0}}td,th{{padding:.2rem .8rem;text-align:right;border-bottom:1px solid #ccc}}
td:first-child,th:first-child{{text-align:left}}</style></head>
<body><h1>{title}</h1>{sentences}<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>{chart}</body></html>
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a report tells: a title, sentences, and a table with its head; and what its pictures show."""

    title: str
    sentences: Sequence[str]
    head: Sequence[str]
    table: Sequence[Sequence[str]]
    quality: Quality
    rows: Sequence[Row]
    tier: Tier


def check_report(path: Path) -> None:
    """Raises Misuse for a path that is no HTML file's."""
    if path.suffix.lower() not in {".html", ".htm"}:
        raise Misuse("--report {path}: the report is an HTML file; expected a name that ends in .html.", path=path)


def save_report(report: Report, path: Path) -> None:
    """Write the report to `path`, whole or not at all. Raises Misuse, MachineError."""
    check_report(path)
    chart = ""
    if report.rows:
        import altair  # half a second at import

        chart = report_chart(report, altair).to_html(fullhtml=False, inline=True)
    page = PAGE.format(
        title=escape(report.title), sentences="".join(f"<p>{escape(s)}</p>" for s in report.sentences),
        head="".join(f"<th>{escape(cell)}</th>" for cell in report.head),
        rows="".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in report.table), chart=chart,
    )  # fmt: skip
    with written_whole(path) as part:
        part.write_text(page, encoding="utf-8")


def report_chart(report: Report, altair: Any) -> Any:
    """The confidence sequence of the mean KLD over windows, and the mean KLD of every kind of text with its interval."""
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
    band = base.mark_area(opacity=0.25, color="#0b4f6c").encode(
        x=x, y=altair.Y("low:Q", title=say("mean KLD, nats per token")), y2="high:Q"
    )
    line = base.mark_line(color="#0b4f6c").encode(x=x, y=y)
    closing = altair.layer(band, line, *bound_line(altair, bound, y)).properties(
        width=400, height=260, title=say("what was known, window after window")
    )
    kinds = [{"kind": name, "kld": f.value, "low": f.lowest, "high": f.highest} for name, f in report.quality.domains.items()]
    kind = altair.Y("kind:N", title=None, sort=list(report.quality.domains))
    each = altair.Chart(altair.Data(values=kinds))
    spans = each.mark_rule(color="#555555").encode(y=kind, x=altair.X("low:Q", title=say("mean KLD, nats per token")), x2="high:Q")
    points = each.mark_point(filled=True, size=90, color="#0b4f6c", opacity=1).encode(y=kind, x="kld:Q")
    edge = altair.Chart(altair.Data(values=[{"kld": bound}])).mark_rule(strokeDash=[5, 3], color="black").encode(x="kld:Q")
    texts = altair.layer(spans, points, edge).properties(width=320, height=260, title=say("by kind of text"))
    return altair.hconcat(closing, texts)
