"""Fills the templates of pages: one base, one style sheet, and a template for each kind of page.

A report is one HTML file that needs nothing else: a title, sentences, a table, and a chart that the
reader's browser draws. The pages that a server shows (see `web`) use the same templates. Every
value is escaped where it is filled in.
"""

from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hakaru.errors import Misuse
from hakaru.language import current_language
from hakaru.places import check_place, written_whole

if TYPE_CHECKING:
    from jinja2 import Environment


def check_report(path: Path) -> None:
    """Raises Misuse if `path` does not end like an HTML file, or nothing can be written there."""
    if path.suffix.lower() not in {".html", ".htm"}:
        raise Misuse(
            "`report` {path}: the report is an HTML file; expected a name that ends in .html.",
            path=path,
        )
    check_place("`report`", path)


def save_page(
    path: Path,
    *,
    title: str,
    sentences: Sequence[str],
    head: Sequence[str],
    table: Sequence[Sequence[str]],
    chart: Any | None,
) -> None:
    """Write the page to `path`, whole or not at all. `head` is the first row of the table; `chart`
    is an Altair chart. Raises Misuse, MachineError.
    """
    from markupsafe import Markup

    check_report(path)
    drawn = {} if chart is None else {"chart": _specification(chart), "library": _library()}
    page = render(
        "report.html",
        title=title,
        sentences=sentences,
        head=head,
        table=table,
        style=Markup(style_sheet()),
        **drawn,
    )
    with written_whole(path) as part:
        part.write_text(page, encoding="utf-8")


def render(template: str, **values: Any) -> str:
    """A template of `pages/`, filled in, in the language in use. All values but `Markup` are
    escaped.
    """
    return _templates().get_template(template).render(lang=current_language(), **values)


def style_sheet() -> str:
    """The style sheet of every page, with that of the pictures in it."""
    return _read("choice.css") + _read("page.css")


def served_style_sheet() -> str:
    """The style sheet of the pages that a server shows."""
    return style_sheet() + _read("serving.css")


def picture_style() -> Any:
    """The style sheet of the picture of a choice, on white."""
    from markupsafe import Markup

    return Markup(_read("choice.css"))


def page_script(name: str) -> str:
    """A script of the pages, such as `copy.js`, whose buttons copy a text."""
    return _read(name)


def _read(name: str) -> str:
    return (files("hakaru.pictures") / "pages" / name).read_text(encoding="utf-8")


@cache
def _templates() -> "Environment":
    from jinja2 import Environment, PackageLoader

    return Environment(
        loader=PackageLoader("hakaru.pictures", "pages"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _specification(chart: Any) -> Any:
    """The chart as JSON that can stand in a `<script>`: no `<` in it can end the script."""
    from markupsafe import Markup

    return Markup(chart.to_json(indent=None).replace("<", "\\u003c"))


def _library() -> Any:
    """The JavaScript that draws the chart. Altair's own inline page is a whole document, which
    cannot be part of ours.
    """
    import vl_convert
    from markupsafe import Markup

    return Markup(vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;"))
