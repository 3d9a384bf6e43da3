"""The levels of a decision as a table that explains its own marks."""

from hakaru.choosing.candidate import Candidate, bare_name
from hakaru.choosing.decision import Decision
from hakaru.cli.output import interval_cell, with_interval
from hakaru.cli.table import Cell, Column, Table
from hakaru.cli.words import CONTENDED, speed_cell
from hakaru.evaluation.losses import LEAST_FOR_INTERVALS
from hakaru.evaluation.tiers import Quality
from hakaru.language import say
from hakaru.memory.settings import F16_CACHE
from hakaru.units import Figure, bytes_told, common_unit

TAKEN, PASSES, OUT, UNKNOWN, EARLY = "→", "✓", "✗", "-", "*"
STYLES = {TAKEN: "bold green", PASSES: "green", OUT: "red"}


def decision_table(decision: Decision) -> Table:
    """The table: where there is little room, without intervals, prompts and sizes."""
    columns = [
        Column("", left=True),
        Column(say("level"), left=True, shortens=(3,)),
        Column(say("bits")),
        Column(say("size"), goes=5),
        Column(say("memory")),
        Column(say("loss"), shortens=(2,)),
        Column(Cell(say("top-1"), "top-1"), shortens=(2,)),
        Column(Cell(say("tokens/s"), say("tokens/s"), "tok/s"), shortens=(4, 6)),
        Column(say("prompt/s"), goes=1),
    ]
    sizes = [n for c in decision.candidates for n in (c.weights_bytes, c.total_bytes)]
    unit = common_unit(*sizes)
    return Table(columns, [_row(c, _mark(c, decision), unit) for c in decision.candidates])


def _mark(candidate: Candidate, decision: Decision) -> str:
    if candidate is decision.chosen:
        return TAKEN
    return PASSES if candidate.passes else OUT


def _row(candidate: Candidate, mark: str, unit: str) -> list[str | Cell]:
    lost, speed = candidate.quality, candidate.speed
    style = STYLES[mark]
    busy = CONTENDED if speed and speed.is_contended else ""
    return [
        Cell(mark, style=style),
        Cell(candidate.name, _short_name(candidate), style="" if mark == OUT else style),
        f"{candidate.bpw:.2f}",
        bytes_told(candidate.weights_bytes, unit),
        bytes_told(candidate.total_bytes, unit),
        _loss(lost) if lost else UNKNOWN,
        f"{lost.top1_agreement.value:.1%}" if lost else UNKNOWN,
        speed_cell(speed) if speed else UNKNOWN,
        interval_cell(speed.prefill_tokens_per_s, ".0f", mark=busy) if speed else UNKNOWN,
    ]


def _short_name(candidate: Candidate) -> str:
    """The level with the type of its KV cache alone, such as `source, q8_0`."""
    if candidate.cache == F16_CACHE:
        return candidate.name
    return say("{type}, {cache}", type=bare_name(candidate.type), cache=candidate.cache[0])


def _loss(quality: Quality) -> Cell:
    mark = EARLY if _is_early(quality) else ""
    return Cell(spanned(quality.kld_mean, ".4f") + mark, f"{quality.kld_mean.value:.4f}{mark}")


def _is_early(quality: Quality | None) -> bool:
    return quality is not None and 0 < quality.n_windows < LEAST_FOR_INTERVALS


def spanned(figure: Figure, style: str) -> str:
    """The figure with its interval, if it has one of any width."""
    if figure.low is None or figure.high is None or figure.low == figure.high:
        return f"{figure.value:{style}}"
    return with_interval(figure, style)


def legend(decision: Decision) -> str:
    """What the marks of the table mean, of those that occur in it."""
    candidates = decision.candidates
    marks = {_mark(c, decision) for c in candidates}
    parts = [
        (TAKEN in marks, say("→ taken")),
        (PASSES in marks, say("✓ would do, too")),
        (OUT in marks, say("✗ out")),
        (any(c.quality is None or c.speed is None for c in candidates), say("- not measured")),
        (
            any(_is_early(c.quality) for c in candidates),
            say("* settled on fewer than {n} windows of text", n=LEAST_FOR_INTERVALS),
        ),
        (True, say("source: the model as it is")),
        (True, say("bits: per weight")),
        (True, say("loss: mean KLD")),
    ]
    return say("; ").join(text for occurs, text in parts if occurs)
