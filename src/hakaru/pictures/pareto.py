"""A picture of a decision: the loss of every candidate, measured or predicted, against its memory
and its speed, and what became of the candidate.

Readable without colour: each state has a mark of its own, every mark a label, and intervals are
lines. The source loses nothing, which a logarithmic axis cannot show: it stands on the lower edge.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

from hakaru.choosing.candidate import Candidate
from hakaru.choosing.decision import Decision
from hakaru.evaluation.tiers import Tier
from hakaru.language import say
from hakaru.pictures.bound import bound_line
from hakaru.pictures.save import format_of, save_chart
from hakaru.units import Figure, format_bytes

State = Literal[
    "taken",
    "passes",
    "cannot win",
    "not proven",
    "breaks the tier",
    "predicted to break it",
    "worse at the tasks",
    "too slow",
    "does not fit",
]
MIB: Final = 2**20
FLOOR: Final = 3.0
"""How many times the lower edge lies below the least loss."""
ROOM: Final = 0.25
"""Room for labels at each end of an axis, as a part of the span of its values."""
CROSSED: Final = "M-1,-.6L-.6,-1L0,-.4L.6,-1L1,-.6L.4,0L1,.6L.6,1L0,.4L-.6,1L-1,.6L-.4,0Z"
"""A mark of our own, as an SVG path: crossed out."""
STATES: Final[Mapping[State, tuple[str, str]]] = {
    "taken": ("diamond", "#0b4f6c"),
    "passes": ("circle", "#2a9dc2"),
    "cannot win": ("triangle-up", "#e0a030"),
    "not proven": ("square", "#8d8d8d"),
    "breaks the tier": ("cross", "#b03030"),
    "predicted to break it": ("triangle-left", "#d98c8c"),
    "worse at the tasks": ("triangle-right", "#7a4a1e"),
    "too slow": ("triangle-down", "#6b5b95"),
    "does not fit": (CROSSED, "#333333"),
}
"""Mark and colour of each state."""


def save_pareto_picture(decision: Decision, path: Path) -> None:
    """Write the picture of `decision` to `path`. Raises Misuse for an ending that is no picture's,
    MachineError.
    """
    format_of(path)
    import altair  # half a second at import

    save_chart(pareto_chart(decision, altair), path)


def pareto_chart(decision: Decision, altair: Any) -> Any:
    """Two panels with one axis of loss: against the memory that is needed, with its limit, and
    against the speed of those that were timed.
    """
    words, tier = state_words(), decision.constraints.tier
    drawn = [c for c in decision.candidates if c.quality or c.predicted]
    losses = [kld.value for c in drawn if (kld := _kld(c)).value > 0]
    edge = min(losses, default=tier.kld_mean) / FLOOR
    rows = [
        {
            **_row(c, words[state_of(c, decision.chosen, tier)], edge),
            "above": i % 2 == 0 or _kld(c).value <= edge,
        }
        for i, c in enumerate(sorted(drawn, key=lambda c: c.total_bytes))
    ]
    present = {row["state"] for row in rows}
    marks = {words[state]: mark for state, mark in STATES.items() if words[state] in present}
    panel = _Panel(decision, altair, edge, marks)
    panels = [panel.of("mib", say("memory, MiB"), rows)]
    if timed := [row for row in rows if row["speed"]]:
        panels.append(panel.of("speed", say("decode, tokens/s"), timed))
    title = say("{name}: levels and the tier {tier}", name=decision.model.title, tier=tier.name)
    return altair.hconcat(*panels, title=title).resolve_scale(y="shared")


class _Panel(NamedTuple):
    """What both panels share."""

    decision: Decision
    altair: Any
    edge: float  # the lower edge of the axis of loss, in nats per token
    states: Mapping[str, tuple[str, str]]  # mark and colour, by the state in words

    def of(self, field: str, axis: str, rows: list[dict[str, Any]]) -> Any:
        """The panel of loss against `field`, which is `mib` or `speed`."""
        altair = self.altair
        names = (field, "slow", "fast") if field == "speed" else (field,)
        span = _around([row[name] for row in rows for name in names])
        scale = altair.Scale(domain=span, nice=False)
        x, y = altair.X(f"{field}:Q", title=axis, scale=scale), self._loss()
        base = altair.Chart(altair.Data(values=rows))
        low = altair.Y("low:Q", title=say("mean KLD, nats per token"))
        lines = [base.mark_rule(color="#555555").encode(x=x, y=low, y2="high:Q")]
        if field == "speed":
            slow = altair.X("slow:Q")
            lines.append(base.mark_rule(color="#555555").encode(x=slow, x2="fast:Q", y=y))
        return altair.layer(
            *bound_line(altair, self.decision.constraints.tier.kld_mean, y),
            *(self._limit(x, span) if field == "mib" else ()),
            *lines,
            self._points(base, x, y),
            *self._labels(base, x, y, field, middle=sum(span) / 2),
        ).properties(width=380, height=320)

    def _loss(self) -> Any:
        return self.altair.Y(
            "kld:Q",
            title=say("mean KLD, nats per token"),
            scale=self.altair.Scale(type="log", domainMin=self.edge),
        )

    def _points(self, base: Any, x: Any, y: Any) -> Any:
        """A mark and a colour for each state."""
        altair, shown = self.altair, list(self.states)
        marks, shades = zip(*self.states.values(), strict=True)
        shape = altair.Shape(
            "state:N", title=None, sort=shown, scale=altair.Scale(domain=shown, range=marks)
        )
        colour = altair.Color(
            "state:N",
            title=None,
            sort=shown,
            scale=altair.Scale(domain=shown, range=shades),
            legend=altair.Legend(orient="bottom"),
        )
        return base.mark_point(size=110, filled=True, opacity=1).encode(
            x=x, y=y, shape=shape, color=colour, tooltip=["name:N", "why:N"]
        )

    @staticmethod
    def _labels(base: Any, x: Any, y: Any, field: str, *, middle: float) -> list[Any]:
        """The names of the candidates: by turns above and below the mark, and on its side towards
        the middle of the axis, where there is room.
        """
        return [
            base.transform_filter(
                f"{'' if above else '!'}datum.above && datum.{field} {'>' if to_left else '<='} "
                f"{middle}"
            )
            .mark_text(
                align="right" if to_left else "left", dx=-9 if to_left else 9, dy=-8 if above else 9
            )
            .encode(x=x, y=y, text="name:N")
            for above in (True, False)
            for to_left in (True, False)
        ]

    def _limit(self, x: Any, span: tuple[float, float]) -> list[Any]:
        """A line at the memory that may be used, if it lies on the axis."""
        limit = (self.decision.constraints.memory_bytes or 0) / MIB
        if not span[0] < limit < span[1]:
            return []
        value = {"mib": limit, "text": f"≤ {format_bytes(int(limit * MIB))}"}
        chart = self.altair.Chart(self.altair.Data(values=[value])).encode(x=x)
        return [
            chart.mark_rule(strokeDash=[2, 3], color="black"),
            chart.mark_text(align="left", dx=3, y=8).encode(text="text:N"),
        ]


def _around(values: Sequence[float]) -> tuple[float, float]:
    """The ends of an axis that holds the values and room for labels, and nothing below zero."""
    low, high = min(values), max(values)
    room = ROOM * (high - low or high)
    return max(0.0, low - room), high + room


def state_of(candidate: Candidate, chosen: Candidate | None, tier: Tier) -> State:
    """What became of a candidate."""
    if candidate is chosen:
        return "taken"
    if candidate.passes:
        return "passes"
    if not candidate.fits:
        return "does not fit"
    if candidate.beaten_by:
        return "cannot win"
    if candidate.quality is None and candidate.speed:
        return "too slow"
    if candidate.quality is None:
        return "predicted to break it" if candidate.is_hopeless(tier) else "not proven"
    if candidate.tasks and candidate.tasks.verdict == "worse":
        return "worse at the tasks"
    if candidate.verdict == "inconclusive":
        return "not proven"
    return "breaks the tier" if candidate.verdict == "fail" else "too slow"


def state_words() -> dict[State, str]:
    """The states in words."""
    return {
        "taken": say("taken"), "passes": say("passes"), "cannot win": say("cannot win"),
        "not proven": say("not proven"), "breaks the tier": say("breaks the tier"),
        "predicted to break it": say("predicted to break it"),
        "worse at the tasks": say("worse at the tasks"), "too slow": say("too slow"),
        "does not fit": say("does not fit"),
    }  # fmt: skip


def _kld(candidate: Candidate) -> Figure:
    kld = candidate.quality.kld_mean if candidate.quality else candidate.predicted
    assert kld
    return kld


def _row(candidate: Candidate, state: str, edge: float) -> dict[str, Any]:
    """The values of a mark. A loss below `edge` stands on the edge."""
    kld, speed = _kld(candidate), candidate.speed.decode_tokens_per_s if candidate.speed else None
    return {
        "name": candidate.name, "state": state, "why": candidate.why,
        "mib": candidate.total_bytes / MIB, "kld": max(kld.value, edge),
        "low": max(kld.lowest, edge), "high": max(kld.highest, edge),
        "speed": speed.value if speed else None, "slow": speed.lowest if speed else None,
        "fast": speed.highest if speed else None,
    }  # fmt: skip
