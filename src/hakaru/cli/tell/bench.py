"""What `hakaru bench` tells: measured speeds beside predicted ones."""

from hakaru.cli.output import print_text, show_table
from hakaru.cli.table import Cell, Column, Table
from hakaru.cli.tell.predicted import interval_text
from hakaru.evaluation.bench import Benched
from hakaru.evaluation.calibrating import Calibrated
from hakaru.language import say
from hakaru.planning.speed_figures import PredictedSpeed
from hakaru.units import Figure, format_bytes, three_digits


def print_benched(benched: Benched) -> None:
    """The two speeds of a model, and why one was not predicted."""
    show_table(benched_table(benched))
    predicted = benched.predicted
    if reason := predicted.why_no_decode or predicted.why_no_prefill:
        print_text(say("Not predicted: {reason}.", reason=reason))
    if predicted.depth and benched.deep is None:
        print_text(
            say(
                "Decoding was measured at an empty context: to read {depth:,} tokens before takes "
                "too long, or they are more than the context holds.",
                depth=predicted.depth,
            )
        )
    if benched.speed.is_contended:
        print_text(
            say("Other programs computed meanwhile: the measured speeds are not remembered.")
        )


def benched_table(benched: Benched) -> Table:
    """A row for decoding and one for reading a prompt, in tokens per second."""
    columns = [
        Column("", left=True),
        Column(say("predicted"), shortens=(1,)),
        Column(say("measured")),
        Column(say("difference")),
    ]
    predicted = benched.predicted
    decode = (benched.deep or benched.speed).decode_tokens_per_s
    prefill = benched.speed.prefill_tokens_per_s
    return Table(
        columns,
        [
            [say("decode, tokens/s"), *_cells(predicted.decode, decode)],
            [say("prefill, tokens/s"), *_cells(predicted.prefill, prefill)],
        ],
    )


def _cells(predicted: PredictedSpeed | None, measured: Figure) -> list[str | Cell]:
    shown = three_digits(measured.value)
    if predicted is None:
        return ["-", shown, "-"]
    off = f"{100 * (measured.value / predicted.value - 1):+.0f}%"
    return [Cell(interval_text(predicted), three_digits(predicted.value)), shown, off]


def print_calibrated(calibrated: Calibrated) -> None:
    """What was timed, and what that says of the machine."""
    columns = [
        Column(say("model"), left=True),
        Column(say("size")),
        Column(say("decode, tokens/s")),
        Column(say("prefill, tokens/s")),
    ]
    rows = list[list[str | Cell]]()
    for one in calibrated.timed:
        speed = one.speed
        rows.append(
            [
                one.name,
                format_bytes(one.n_bytes),
                three_digits(speed.decode_tokens_per_s.value),
                three_digits(speed.prefill_tokens_per_s.value),
            ]
        )
    show_table(Table(columns, rows))
    if any(one.speed.is_contended for one in calibrated.timed):
        print_text(
            say(
                "Other programs computed meanwhile: such speeds are not remembered. Run it again "
                "when the machine is quiet."
            )
        )
    if calibrated.machine and calibrated.gigabytes_per_s:
        print_text(
            say(
                "Decoding reads about {rate:.1f} GB/s here. Predictions for this machine rest on "
                "what was timed here from now on (files: {n}).",
                rate=calibrated.gigabytes_per_s,
                n=calibrated.machine.n_files,
            )
        )
