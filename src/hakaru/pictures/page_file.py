"""A page as one HTML file that needs nothing else: a title, sentences, a table, and a chart that the reader's browser draws."""

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any, Final

from hakaru.errors import Misuse
from hakaru.language import current_language
from hakaru.places import check_place, written_whole

PAGE: Final = """<!doctype html>
<html lang="{lang}"><head><meta charset="utf-8"><title>{title}</title>
<style>body{{font-family:system-ui,sans-serif;max-width:68rem;margin:2rem auto;padding:0 1rem;color:#111;background:#fff}}
table{{border-collapse:collapse;margin:1rem 0}}td,th{{padding:.2rem .8rem;white-space:nowrap;text-align:right;border-bottom:1px solid #ccc}}
td:first-child,th:first-child{{text-align:left}}</style></head>
<body><h1>{title}</h1>{sentences}<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>{chart}</body></html>
"""


def check_report(path: Path) -> None:
    """Raises Misuse for a path that is no HTML file's, or at which nothing can be written."""
    if path.suffix.lower() not in {".html", ".htm"}:
        raise Misuse("--report {path}: the report is an HTML file; expected a name that ends in .html.", path=path)
    check_place("--report", path)


def save_page(
    path: Path, *, title: str, sentences: Sequence[str], head: Sequence[str], table: Sequence[Sequence[str]], chart: Any | None
) -> None:
    """Write the page to `path`, whole or not at all. `chart` is an Altair chart. Raises Misuse, MachineError."""
    check_report(path)
    page = PAGE.format(
        lang=current_language(), title=escape(title), sentences="".join(f"<p>{escape(s)}</p>" for s in sentences),
        head="".join(f"<th>{escape(cell)}</th>" for cell in head),
        rows="".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in table),
        chart=_embedded(chart) if chart is not None else "",
    )  # fmt: skip
    with written_whole(path) as part:
        part.write_text(page, encoding="utf-8")


def _embedded(chart: Any) -> str:
    """The chart and the library that draws it as a part of a page: Altair's own inline page is a whole document."""
    import vl_convert

    library = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
    spec = chart.to_json(indent=None).replace("<", "\\u003c")
    drawn = f'vegaEmbed("#vis", {spec}, {{"mode": "vega-lite"}})'
    return f'<div id="vis"></div><script type="module">{library}</script><script type="module">{drawn}</script>'
