"""A chart as a file: an SVG or a PNG, by its ending."""

from pathlib import Path
from typing import Any, Final

from hakaru.errors import MachineError, Misuse
from hakaru.language import current_language
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
    """Raises Misuse if `path` does not end like a picture, or nothing can be written there;
    MachineError where a PNG could not show what it has to say.
    """
    kind = format_of(path)
    check_place("`plot`", path)
    if kind == "png" and current_language() == "ja" and not has_japanese_font():
        raise MachineError(
            "`plot` {path}: no font of this machine has Japanese letters, so a PNG would show "
            "boxes. Name an .svg, which any browser shows, or install a font such as Noto Sans "
            "CJK.",
            path=path,
        )


def has_japanese_font() -> bool:
    """Whether a PNG shows Japanese letters: without a font two letters come out as the same box."""
    import vl_convert

    one, other = (
        vl_convert.svg_to_png(
            '<svg xmlns="http://www.w3.org/2000/svg" width="24" height="24">'
            f'<text y="20" font-family="sans-serif">{letter}</text></svg>'
        )
        for letter in "測量"
    )
    return bool(one != other)


def save_chart(chart: Any, path: Path) -> None:
    """Write an Altair chart to `path`, whole or not at all. Raises Misuse for another ending,
    MachineError.
    """
    import vl_convert

    save_drawing(vl_convert.vegalite_to_svg(chart.to_json()), path)


def save_drawing(svg: str, path: Path) -> None:
    """Write a picture to `path`, as SVG or as PNG, whole or not at all. Raises Misuse for another
    ending, MachineError.
    """
    kind = format_of(path)
    with written_whole(path) as part:
        if kind == "svg":
            part.write_text(svg, encoding="utf-8")
        else:
            import vl_convert

            part.write_bytes(vl_convert.svg_to_png(svg, scale=2))
