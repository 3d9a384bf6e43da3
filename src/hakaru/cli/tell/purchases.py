"""What `hakaru choose --for-hardware any` tells as text: the accelerators that run a model."""

from hakaru.cli.output import print_text, show_table
from hakaru.cli.table import Cell, Column, Table, bytes_cell
from hakaru.language import say
from hakaru.selection.buying import Purchase, Shopping
from hakaru.selection.told import asked_lines, interval_text, speed_text


def print_shopping(found: Shopping, top: int) -> None:
    """The whole answer as text."""
    for line in asked_lines(found.conditions):
        print_text(line)
    print_text(
        say(
            "{model} at four bits or more, with all layers on the accelerators:",
            model=found.model.id,
        )
    )
    if not found.purchases:
        print_text(
            say("None of {n} accelerators runs it so fast, not even eight.", n=found.n_tried)
        )
        return
    show_table(purchases_table(found, top))
    print_text(
        say(
            "{n} of {total} accelerators run it, the least memory first; prices are not known.",
            n=len(found.purchases),
            total=found.n_tried,
        )
    )


def purchases_table(found: Shopping, top: int) -> Table:
    """One row per kind of accelerator; in a narrow terminal in two lines."""
    columns = [
        Column(say("accelerators"), left=True),
        Column(say("memory"), shortens=(1,)),
        Column(say("type"), left=True, below=1),
        Column(say("to spare"), below=1, shortens=(1,)),
        Column(Cell(say("tokens/s"), say("t/s")), below=1, shortens=(2,)),
        Column(say("interval"), below=1),
        Column(say("power"), below=1),
    ]
    return Table(columns, [_row(purchase) for purchase in found.purchases[:top]])


def _row(purchase: Purchase) -> list[str | Cell]:
    contender, watts = purchase.contender, purchase.watts
    count = f"{purchase.count}x " if purchase.count > 1 else ""
    return [
        f"{count}{purchase.name}",
        bytes_cell(purchase.memory_bytes, "GiB"),
        contender.type if contender.cache == "f16" else f"{contender.type}, KV {contender.cache}",
        bytes_cell(purchase.spare_bytes, "GiB"),
        speed_text(contender.pace),
        interval_text(contender.pace),
        "?" if watts is None else f"{watts:g} W",
    ]
