"""A picture of the memory of every device: a stacked bar of what a model takes there, and a mark at
what is free.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from hakaru.language import say
from hakaru.models.spoken_type import spoken_type
from hakaru.pictures.save import format_of, save_chart
from hakaru.planning.answer import Fit
from hakaru.planning.shares import Share
from hakaru.units import format_bytes

GIB: Final = 2**30
COLOURS: Final = ("#0b4f6c", "#2a9dc2", "#e0a030", "#8d8d8d", "#d4d4d4")
"""Of weights, KV cache, compute, other and growth; different in greyscale, too."""


def save_memory_picture(fit: Fit, path: Path) -> None:
    """Write the picture of `fit` to `path`, an SVG or a PNG by its ending. Raises Misuse for
    another ending, MachineError.
    """
    format_of(path)
    import altair  # half a second at import

    save_chart(memory_chart(fit, altair), path)


def memory_chart(fit: Fit, altair: Any) -> Any:
    """One bar per device: weights, KV cache, compute, other, what grows with use; a mark and a
    label at what is free.
    """
    shares = fit.placement.devices
    labels = [
        f"{i}: {s.device.name}" if len(shares) > 1 else s.device.name for i, s in enumerate(shares)
    ]
    limits = [
        {
            "device": label,
            "gib": share.device.usable_bytes / GIB,
            "text": format_bytes(share.device.usable_bytes),
        }
        for label, share in zip(labels, shares, strict=True)
    ]
    device = altair.Y("device:N", title=None, sort=labels)
    free = altair.Chart(altair.Data(values=limits)).encode(x="gib:Q", y=device)
    tick = free.mark_tick(thickness=3, height=40, color="black")
    text = free.mark_text(align="left", dx=6, baseline="middle", color="black").encode(
        text="text:N"
    )
    return (
        (_bars(shares, labels, device, altair) + tick + text)
        .properties(title=_title(fit), width=560, height=altair.Step(56))
        .configure_view(stroke=None)
    )


def _bars(shares: Sequence[Share], labels: Sequence[str], device: Any, altair: Any) -> Any:
    """The bars: the parts of each device's memory, stacked."""
    names = [say("weights"), say("KV cache"), say("compute"), say("other"), say("with use")]
    rows = [
        {
            "device": label, "part": name, "order": order, "gib": part / GIB,
            "bytes": format_bytes(part),
        }
        for label, share in zip(labels, shares, strict=True)
        for order, (name, part) in enumerate(zip(names, share.bar, strict=True))
    ]  # fmt: skip
    most = max((max(s.device.usable_bytes, s.needed_bytes) for s in shares), default=1) / GIB
    scale = altair.Scale(domainMax=1.12 * most, nice=False)
    colour = altair.Color(
        "part:N",
        title=None,
        sort=names,
        legend=altair.Legend(orient="bottom"),
        scale=altair.Scale(domain=names, range=COLOURS),
    )
    return (
        altair.Chart(altair.Data(values=rows))
        .mark_bar(height=26)
        .encode(
            x=altair.X("gib:Q", title="GiB", stack="zero", scale=scale),
            y=device,
            color=colour,
            order=altair.Order("order:Q"),
            tooltip=["device:N", "part:N", "bytes:N"],
        )
    )


def _title(fit: Fit) -> str:
    return say(
        "{name} ({architecture}, {type}, {params} parameters) at {n_ctx:,} tokens of context",
        name=fit.model.name,
        architecture=fit.model.shape.architecture,
        type=spoken_type(fit.model),
        params=f"{fit.model.n_params / 1e9:.1f}B",
        n_ctx=fit.settings.n_ctx,
    )
