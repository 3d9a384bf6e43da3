"""A chart as a file: an SVG or a PNG, by its ending."""

from pathlib import Path
from typing import Any, Final

from hakaru.errors import Misuse
from hakaru.places import check_place, written_whole

FORMATS: Final = ("svg", "png")


def format_of(path: Path) -> str:
    """The format that the ending of `path` names. Raises Misuse for any other ending."""
    kind = path.suffix.lower().removeprefix(".")
    if kind not in FORMATS:
        raise Misuse(
            "`plot` {path}: the ending says which picture to write; expected .svg or .png.",
            path=path,
        )
    return kind


def check_picture(path: Path) -> None:
    """Raises Misuse if `path` does not end like a picture, or nothing can be written there."""
    format_of(path)
    check_place("`plot`", path)


def save_chart(chart: Any, path: Path) -> None:
    """Write an Altair chart to `path`, whole or not at all. Raises Misuse for another ending,
    MachineError.
    """
    import vl_convert

    kind, spec = format_of(path), chart.to_json()
    with written_whole(path) as part:
        if kind == "svg":
            part.write_text(vl_convert.vegalite_to_svg(spec), encoding="utf-8")
        else:
            part.write_bytes(vl_convert.vegalite_to_png(spec, scale=2))
