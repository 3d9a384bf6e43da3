"""What `hakaru doctor` says."""

from typing import Any

from hakaru.cli.output import next_step, print_table, print_text
from hakaru.language import say
from hakaru.planning.checkup import Checkup
from hakaru.units import format_bytes


def print_checkup(checkup: Checkup) -> None:
    """The engines, the worst errors by architecture, the margins, and what is not used."""
    engines = checkup.engines
    print_table(
        ["", ""],
        [
            [say("engine, lab"), engines["lab"] or say("missing: run make")],
            [say("engine, server"), engines["server"] or say("missing: run make")],
            [say("ledger"), checkup.ledger],
        ],
        left=2,
    )
    if checkup.summaries:
        _print_errors(checkup.summaries)
    else:
        print_text(say("Nothing was checked here yet."))
    for margin in checkup.margins:
        print_text(margin.sentence())
    if sentence := checkup.unused():
        print_text(sentence)
    next_step("hakaru up")


def _print_errors(summaries: dict[str, dict[str, Any]]) -> None:
    print_text(
        say(
            "Worst error on this machine, by architecture: our arithmetic less the dry run, the "
            "dry run less the real load's buffers, and the process's peak over the prediction."
        )
    )
    header = [
        say("architecture"), say("checks"), say("weights"), say("KV cache"), say("compute"),
        say("loads"), say("compute"), say("peak"),
    ]  # fmt: skip
    print_table(header, [_row(name, summary) for name, summary in summaries.items()])


def _row(name: str, summary: dict[str, Any]) -> list[str]:
    ours, engine = (summary["computed_less_dry_run_bytes"], summary["dry_run_less_measured_bytes"])
    peak = summary["peak_over_prediction"]
    return [
        name, str(summary["checks"]), _bytes(ours["weights_bytes"]), _bytes(ours["kv_cache_bytes"]),
        _bytes(ours["compute_bytes"]), str(summary["loads"]), _bytes(engine["compute_bytes"]),
        _range(peak["least"], peak["most"]),
    ]  # fmt: skip


def _bytes(n: int | None) -> str:
    return "-" if n is None else f"{'-' if n < 0 else '+'}{format_bytes(abs(n))}"


def _range(low: float | None, high: float | None) -> str:
    return "-" if low is None or high is None else f"{100 * low:+.1f} … {100 * high:+.1f} %"
