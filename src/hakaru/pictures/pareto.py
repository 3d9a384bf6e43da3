"""What a decision weighed: the loss of every level against its size and its speed, what passes, and what was taken.

Readable without colour: each state has a mark of its own, every mark a label, and intervals are lines. The source loses nothing, which
a logarithmic axis cannot show; it stands on the lower edge.
"""

from pathlib import Path
from typing import Any, Final

from hakaru.language import say
from hakaru.pictures.bound import bound_line
from hakaru.pictures.save import format_of, save_chart
from hakaru.tuning.decide import SOURCE, Candidate
from hakaru.tuning.loop import Decision

MIB: Final = 2**20
FLOOR: Final = 3.0
"""The lower edge lies so many times below the least loss that was measured."""
MARKS: Final = ("diamond", "circle", "triangle-up", "square", "cross", "triangle-down")
SHADES: Final = ("#0b4f6c", "#2a9dc2", "#e0a030", "#8d8d8d", "#b03030", "#6b5b95")


def save_pareto_picture(decision: Decision, path: Path) -> None:
    """Write the picture of `decision` to `path`. Raises Misuse for an ending that is no picture's, MachineError."""
    format_of(path)
    import altair  # half a second at import

    save_chart(pareto_chart(decision, altair), path)


def pareto_chart(decision: Decision, altair: Any) -> Any:
    """Two panels with one axis of loss: against the weights' size, and against the speed of those that were timed."""
    states = [say("taken"), say("passes"), say("cannot win"), say("not proven"), say("breaks the tier"), say("too slow")]
    measured = [c for c in decision.candidates if c.quality]
    edge = (
        min(
            [c.quality.kld_mean.value for c in measured if c.quality and c.quality.n_tokens],
            default=decision.constraints.tier.kld_mean,
        )
        / FLOOR
    )
    by_size = sorted(measured, key=lambda c: c.weights_bytes)
    rows = [{**_row(c, c is decision.chosen, states, edge), "above": i % 2 == 0} for i, c in enumerate(by_size)]
    bound = decision.constraints.tier.kld_mean
    y = altair.Y("kld:Q", title=say("mean KLD, nats per token"), scale=altair.Scale(type="log", domainMin=edge))
    title = say("{name}: levels and the tier {tier}", name=decision.model.name, tier=decision.constraints.tier.name)

    def panel(field: str, axis: str, kept: list[dict[str, Any]]) -> Any:
        data = altair.Data(values=kept)
        x = altair.X(f"{field}:Q", title=axis, scale=altair.Scale(zero=False, padding=60))
        shape = altair.Shape("state:N", title=None, sort=states, scale=altair.Scale(domain=states, range=MARKS))
        colour = altair.Color("state:N", title=None, sort=states, scale=altair.Scale(domain=states, range=SHADES),
                              legend=altair.Legend(orient="bottom"))  # fmt: skip
        base = altair.Chart(data)
        lines = base.mark_rule(color="#555555").encode(x=x, y=altair.Y("low:Q", title=say("mean KLD, nats per token")), y2="high:Q")
        across = [base.mark_rule(color="#555555").encode(x=altair.X("slow:Q"), x2="fast:Q", y=y)] if field == "speed" else []
        points = base.mark_point(size=110, filled=True, opacity=1).encode(
            x=x, y=y, shape=shape, color=colour, tooltip=["name:N", "why:N"]
        )
        above = base.transform_filter("datum.above").mark_text(align="left", dx=9, dy=-8).encode(x=x, y=y, text="name:N")
        below = base.transform_filter("!datum.above").mark_text(align="right", dx=-9, dy=9).encode(x=x, y=y, text="name:N")
        return altair.layer(*bound_line(altair, bound, y), lines, *across, points, above, below).properties(width=380, height=320)

    panels = [panel("mib", say("weights, MiB"), rows)]
    timed = [row for row in rows if row["speed"]]
    if timed:
        panels.append(panel("speed", say("decode, tokens/s"), timed))
    return altair.hconcat(*panels, title=title).resolve_scale(y="shared")


def _row(candidate: Candidate, is_taken: bool, states: list[str], edge: float) -> dict[str, Any]:
    assert candidate.quality
    kld, speed = candidate.quality.kld_mean, candidate.speed.decode_tokens_per_s if candidate.speed else None
    by_verdict = {"inconclusive": 3, "fail": 4}.get(candidate.verdict or "", 5)
    state = 0 if is_taken else 1 if candidate.passes else 2 if candidate.beaten_by else by_verdict
    return {
        "name": say("source") if candidate.type == SOURCE else candidate.type, "state": states[state], "why": candidate.why,
        "mib": candidate.weights_bytes / MIB, "kld": max(kld.value, edge), "low": max(kld.lowest, edge), "high": max(kld.highest, edge),
        "speed": speed.value if speed else None, "slow": speed.lowest if speed else None, "fast": speed.highest if speed else None,
    }  # fmt: skip
