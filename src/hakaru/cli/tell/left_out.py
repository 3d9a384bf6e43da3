"""What `hakaru choose` tells of models that have no row: how many, why, and what to relax."""

import math
from collections.abc import Sequence

from hakaru.language import listed, say
from hakaru.selection.chosen import Chosen
from hakaru.selection.conditions import Reason
from hakaru.selection.relaxing import Relaxation


def nothing_lines(ways: Sequence[Relaxation]) -> list[str]:
    """That nothing meets every condition, and which one to relax by how much."""
    if not ways:
        return [say("No model meets every condition, and none does if one of them is relaxed.")]
    return [
        say("No model meets every condition. One of these changes alone is enough:"),
        *(relaxation_line(way) for way in ways),
    ]


def relaxation_line(way: Relaxation) -> str:
    """One condition that gives way, with the model that then meets all."""
    asked, enough = _value(way.field, way.asked), _value(way.field, way.enough)
    return say(
        "- {field} {enough} instead of {asked}: {model}",
        field=f"`{way.field}`",
        enough=enough,
        asked=asked,
        model=way.model,
    )


def _value(field: str, value: float | str) -> str:
    if isinstance(value, str):
        return value
    if field == "memory":
        return f"{math.ceil(value / 2**30 * 10) / 10:g}GiB"
    return f"{value:g}s" if field == "first_token_s" else f"{value:g}"


def left_out_line(chosen: Chosen) -> str:
    """How many models have no row, by the reason."""
    counted = [
        say("{n} {reason}", n=n, reason=reason_word(reason))
        for reason, n in chosen.left_out.items()
    ]
    if not counted:
        return say("No model was left out.")
    return say("Left out: {counted}.", counted=listed(counted))


def reason_word(reason: Reason) -> str:
    """Why models have no row, as it stands behind their number."""
    return {
        "task": say("for another task"),
        "language": say("not known to speak the language"),
        "licence": say("by their licence"),
        "trained_context": say("trained for less context"),
        "not_modelled": say("whose memory only a dry run tells"),
        "memory": say("too large"),
        "speed": say("too slow"),
        "speed_unknown": say("of unknown speed"),
        "first_token": say("too late with the first word"),
        "no_score": say("without a score and not looked at (--model)"),
        "further_down": say("further down (--top)"),
    }[reason]
