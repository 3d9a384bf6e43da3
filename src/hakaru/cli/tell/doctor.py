"""What `hakaru doctor` says."""

from typing import Any

from hakaru.cli.output import next_step, print_facts, print_text, show_table
from hakaru.cli.table import Cell, Column, Table
from hakaru.cli.wrapping import whole
from hakaru.language import say
from hakaru.planning.checkup import Checkup
from hakaru.units import format_bytes, short_bytes


def print_checkup(checkup: Checkup) -> None:
    """The engines, the worst errors by architecture, the margins, and what is not used."""
    engines = checkup.engines
    print_facts(
        [
            [say("engine, lab"), engines["lab"] or say("missing: run make")],
            [say("engine, server"), engines["server"] or say("missing: run make")],
            [say("ledger"), whole(checkup.ledger)],
        ]
    )
    if checkup.summaries:
        _print_errors(checkup.summaries)
    else:
        print_text(say("Nothing was checked here yet."))
    for margin in checkup.margins:
        print_text(margin.sentence())
    if speeds := checkup.speeds():
        print_text(speeds)
    if sentence := checkup.unused():
        print_text(sentence)
    if checkup.is_whole:  # else what is missing says what to do
        next_step("hakaru up")


def _print_errors(summaries: dict[str, dict[str, Any]]) -> None:
    print_text(
        say(
            "Worst error on this machine, by architecture: our arithmetic less the dry run, the "
            "dry run less the real load's buffers, and the process's peak over the prediction."
        )
    )
    show_table(errors_table(summaries))


def errors_table(summaries: dict[str, dict[str, Any]]) -> Table:
    """One row per architecture; in a narrow terminal what real loads told stands below."""
    columns = [
        Column(say("architecture"), left=True),
        Column(say("checks")),
        *(
            Column(title, shortens=(1,))
            for title in (say("weights"), say("KV cache"), say("compute"))
        ),
        Column(say("loads"), below=1),
        Column(say("buffers"), shortens=(1,), below=1),
        Column(say("peak"), below=1),
    ]
    return Table(columns, [_row(name, summary) for name, summary in summaries.items()])


def _row(name: str, summary: dict[str, Any]) -> list[str | Cell]:
    ours, engine = (summary["computed_less_dry_run_bytes"], summary["dry_run_less_measured_bytes"])
    peak = summary["peak_over_prediction"]
    return [
        name, str(summary["checks"]), _bytes(ours["weights_bytes"]), _bytes(ours["kv_cache_bytes"]),
        _bytes(ours["compute_bytes"]), str(summary["loads"]), _bytes(engine["compute_bytes"]),
        _range(peak["least"], peak["most"]),
    ]  # fmt: skip


def _bytes(n: int | None) -> Cell:
    if n is None:
        return Cell("-")
    sign = "-" if n < 0 else "+"
    return Cell(f"{sign}{format_bytes(abs(n))}", f"{sign}{short_bytes(abs(n))}")


def _range(low: float | None, high: float | None) -> str:
    return "-" if low is None or high is None else f"{100 * low:+.1f} … {100 * high:+.1f}%"
