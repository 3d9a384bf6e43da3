"""What guessing tokens ahead gains, told as text."""

from typing import Final

from hakaru.choosing.speculated import LEAST_GAIN, Speculated, Tried, spoken
from hakaru.cli.output import print_text, show_table
from hakaru.cli.table import Cell, Column, Table, bytes_cell
from hakaru.evaluation.work_prompts import Work, work_name
from hakaru.language import say
from hakaru.units import format_bytes, three_digits

WORKS: Final[tuple[Work, ...]] = ("chat", "code", "summary")


def print_speculated(result: Speculated) -> None:
    """Every way that was measured, and whether the best of them is taken."""
    print()
    if result.tried:
        show_table(_table(result))
    for line in speculated_lines(result):
        print_text(line)


def speculated_lines(result: Speculated) -> list[str]:
    """The verdict, and what was not measured."""
    lines = [_verdict(result)] if result.tried else []
    lines += [
        say("Not measured: {name}: {why}", name=skipped.name, why=skipped.why)
        for skipped in result.skipped
    ]
    return lines


def _verdict(result: Speculated) -> str:
    best, taken = result.tried[0], result.taken
    if taken:
        return say(
            "Tokens are guessed ahead (speculative decoding), {n} at once, by {name}: answers are "
            "{gain} times as fast ({low} to {high}), {rate} tokens/s instead of {plain}, measured "
            "on {n_answers} requests, {rounds} times each. It takes {memory} more. The model is "
            "served so from now on.",
            name=spoken(taken.way),
            n=taken.way.n_max,
            gain=_times(taken.gain.value),
            low=_times(taken.gain.lowest),
            high=_times(taken.gain.highest),
            rate=three_digits(taken.tokens_per_s.value),
            plain=three_digits(taken.plain_tokens_per_s.value),
            n_answers=taken.n_answers,
            rounds=taken.n_rounds,
            memory=format_bytes(taken.memory_bytes),
        )
    if result.is_contended:
        return say(
            "Guessing tokens ahead (speculative decoding) is not taken: other programs computed "
            "while it was measured, so the figures say little. Measure it again when the machine "
            "is idle."
        )
    return say(
        "Guessing tokens ahead (speculative decoding) is not taken: answers are {gain} times as "
        "fast with the best way ({low} to {high}). Needed are {least} times, and an interval above "
        "1.",
        gain=_times(best.gain.value),
        low=_times(best.gain.lowest),
        high=_times(best.gain.highest),
        least=_times(LEAST_GAIN),
    )


def _table(result: Speculated) -> Table:
    columns = [
        Column(say("guesses"), left=True),
        Column(say("at once")),
        Column(say("memory"), shortens=(1,)),
        Column(say("right"), goes=3),
        Column(Cell(say("tokens/s"), say("t/s")), shortens=(1,)),
        Column(say("times as fast")),
        Column(say("interval"), goes=4),
        *(Column(work_name(work), goes=5) for work in WORKS),
    ]
    first = result.tried[0]
    plain = [say("none"), "-", "-", "-", three_digits(first.plain_tokens_per_s.value), "1.00", ""]
    return Table(columns, [[*plain, *("" for _ in WORKS)], *map(_row, result.tried)])


def _row(tried: Tried) -> list[str | Cell]:
    works = (tried.by_work.get(work) for work in WORKS)
    return [
        spoken(tried.way),
        str(tried.way.n_max),
        bytes_cell(tried.memory_bytes, "MiB"),
        "-" if tried.acceptance is None else f"{tried.acceptance:.0%}",
        three_digits(tried.tokens_per_s.value),
        _times(tried.gain.value),
        f"{_times(tried.gain.lowest)}…{_times(tried.gain.highest)}",
        *("" if gain is None else _times(gain) for gain in works),
    ]


def _times(gain: float) -> str:
    return f"{gain:.2f}"
