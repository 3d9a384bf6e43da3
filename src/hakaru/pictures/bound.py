"""The line at the bound of a tier, as it stands in every picture of losses."""

from typing import Any


def bound_line(altair: Any, kld: float, y: Any) -> tuple[Any, Any]:
    """A dashed line at `kld` on the axis `y`, and the label of the line, at its left end."""
    limit = altair.Chart(altair.Data(values=[{"kld": kld, "text": f"≤ {kld:g}"}]))
    line = limit.mark_rule(strokeDash=[5, 3], color="black").encode(y=y)
    return line, limit.mark_text(align="left", baseline="bottom", x=3, dy=-2).encode(
        y=y, text="text:N"
    )
