"""A chart as a file: an SVG or a PNG, by its ending."""

from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, Final

from hakaru.errors import Misuse
from hakaru.places import written_whole

FORMATS: Final = ("svg", "png")


def format_of(path: Path) -> str:
    """The format that the ending of `path` asks for. Raises Misuse for another one."""
    kind = path.suffix.lower().removeprefix(".")
    if kind not in FORMATS:
        raise Misuse("--plot {path}: the ending says which picture to write; expected .svg or .png.", path=path)
    return kind


def check_picture(path: Path) -> None:
    """Raises Misuse for an ending that is no picture's, or a path at which nothing can be written."""
    format_of(path)
    check_place("--plot", path)


def check_place(option: str, path: Path) -> None:
    """Raises Misuse where no file can be written at the `path` that `option` names: said before anything is measured for it."""
    if path.is_dir():
        raise Misuse("{option} {path}: is a folder; name a file in it.", option=option, path=path)
    if not path.parent.is_dir():
        raise Misuse("{option} {path}: there is no folder {folder}; make it, or choose another place.",
                     option=option, path=path, folder=path.parent)  # fmt: skip
    try:
        TemporaryFile(dir=path.parent).close()
    except OSError as error:
        raise Misuse("{option} {path}: cannot be written ({reason}); choose another place.",
                     option=option, path=path, reason=error.strerror) from error  # fmt: skip


def save_chart(chart: Any, path: Path) -> None:
    """Write an Altair chart to `path`, whole or not at all. Raises Misuse for another ending, MachineError."""
    import vl_convert

    kind, spec = format_of(path), chart.to_json()
    with written_whole(path) as part:
        if kind == "svg":
            part.write_text(vl_convert.vegalite_to_svg(spec), encoding="utf-8")
        else:
            part.write_bytes(vl_convert.vegalite_to_png(spec, scale=2))
