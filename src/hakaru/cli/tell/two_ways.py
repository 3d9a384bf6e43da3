"""The two ways to a file that fits, as text: somebody made it, or it is made here."""

from collections.abc import Sequence

from hakaru.cli.output import print_text, show_table
from hakaru.cli.table import Cell, Column, Table, bytes_cell
from hakaru.language import say
from hakaru.pulling.ways import Way, why
from hakaru.units import common_unit, format_bytes


def print_ways(ways: Sequence[Way]) -> None:
    """Both ways, and why the first is taken."""
    show_table(ways_table(ways))
    print_text(say("Taken: {why}.", why=why(ways)))


def ways_table(ways: Sequence[Way]) -> Table:
    """What is taken, and what the other way would cost."""
    columns = [
        Column(say("way"), left=True),
        Column(say("fetched"), left=True),
        Column(say("size"), shortens=(1,)),
        Column(say("fetching")),
        Column(say("quantizing")),
        Column(say("file at most"), shortens=(1,)),
        Column(say("disk"), shortens=(1,)),
    ]
    unit = common_unit(*(n for way in ways for n in (way.missing_bytes, way.disk_bytes) if n))
    return Table(columns, [_way_row(way, unit) for way in ways])


def _way_row(way: Way, unit: str) -> list[str | Cell]:
    is_made, unknown = way.kind == "make", say("not known")
    quantizing = spoken_time(way.quantizing_s) if way.quantizing_s else unknown
    ready = say("ready-made") if way.fits else say("ready-made, too large")
    return [
        say("made here") if is_made else ready,
        way.label,
        bytes_cell(way.missing_bytes, unit),
        _fetching(way),
        quantizing if is_made else "-",
        bytes_cell(way.made_bytes if is_made else way.bytes, unit),
        bytes_cell(way.disk_bytes, unit),
    ]


def _fetching(way: Way) -> str:
    if way.missing_bytes == 0:
        return "-"
    return say("not known") if way.fetching_s is None else spoken_time(way.fetching_s)


def ways_line(ready: Way, make: Way) -> str:
    """What it takes to have a recommended model here, ready-made or not."""
    pace = make.quantizing_s
    return say(
        "To have it here: ready-made {size}. Where nobody has published that type: {original} of "
        "original weights, then quantizing ({quantizing}); {disk} of disk.",
        size=_size(ready),
        original=_size(make),
        quantizing=say("time not known") if pace is None else spoken_time(pace),
        disk=format_bytes(make.disk_bytes or 0),
    )


def _size(way: Way) -> str:
    """The bytes to fetch, with the time if it is known."""
    size = format_bytes(way.bytes or 0)
    if way.fetching_s is None:
        return size
    return say("{size} ({time})", size=size, time=spoken_time(way.fetching_s))


def spoken_time(seconds: float) -> str:
    """Seconds below two minutes, else minutes, else hours."""
    if seconds < 120:
        return say("{n} s", n=max(1, round(seconds)))
    if seconds < 7200:
        return say("{n} min", n=round(seconds / 60))
    return say("{n:.1f} h", n=seconds / 3600)
