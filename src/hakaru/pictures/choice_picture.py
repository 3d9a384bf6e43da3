"""The picture of what `choose` found, as a file: an SVG that a template draws, or a PNG of it.

Altair draws the other pictures. Here the labels have to stand where they cover nothing, and the
page of a server draws the same in the colours and the width of its reader (docs/decisions/0030).
"""

from pathlib import Path
from typing import Final

from hakaru.language import language_name, listed, say
from hakaru.pictures.choice_layout import choice_layout, notes
from hakaru.pictures.labels import lines_of
from hakaru.pictures.page_file import picture_style, render
from hakaru.pictures.save import save_drawing
from hakaru.selection.chosen import Chosen
from hakaru.selection.told import score_line

HEADING, LETTERS = 15.0, 11.0  # pixels
MARGIN: Final = 8.0


def save_choice_picture(chosen: Chosen, path: Path) -> None:
    """Write the picture to `path`, an SVG or a PNG by its ending. There must be rows. Raises Misuse
    for another ending, MachineError.
    """
    save_drawing(choice_svg(chosen), path)


def choice_svg(chosen: Chosen) -> str:
    """The picture as SVG, in the language in use."""
    layout = choice_layout(chosen)
    heading = lines_of(title(chosen), layout.width - MARGIN, HEADING)
    below = [
        line
        for note in [*notes(layout), *sources(chosen)]
        for line in lines_of(note, layout.width - MARGIN, LETTERS)
    ]
    above = 14 + 20 * len(heading)
    return render(
        "choice.svg", layout=layout, heading=heading, notes=below, above=above,
        height=round(above + layout.height + 18 + 16 * len(below), 1), style=picture_style(),
    )  # fmt: skip


def title(chosen: Chosen) -> str:
    """What was asked, and for which machine."""
    conditions, hardware = chosen.conditions, chosen.hardware
    names = listed(device.name for device in hardware.accelerators)
    return say(
        "{task} ({language}) on {machine}",
        task=conditions.task,
        language=language_name(conditions.language),
        machine=hardware.text or names or say("this machine"),
    )


def sources(chosen: Chosen) -> list[str]:
    """Where the scores come from."""
    scores = [row.published for row in chosen.rows if row.published]
    return [score_line(scores[0])] if scores else []
