"""What can guess tokens ahead for a row of `choose`, and the memory that it takes more. Its gain is
what `hakaru tune --speculative` measured here, else not known. Pure.
"""

from collections.abc import Iterable

from hakaru.language import listed, say
from hakaru.planning.backends import backend_of
from hakaru.planning.extras import mtp_layers
from hakaru.selection.contender import Contender
from hakaru.selection.remembered import Guessing
from hakaru.units import format_bytes


def guessing(row: Contender) -> Guessing | None:
    """What was measured for the row, else its own layers for it; None where it has none."""
    if row.measured and row.measured.guessing:
        return row.measured.guessing
    shape, weights_bytes = row.task.shape, row.sized.file_bytes - row.sized.load.total_bytes
    if not row.writes or not row.model.n_params_mtp or weights_bytes <= 0:
        return None
    if not shape.n_layer_nextn or not shape.record.guesses:
        return None
    accelerators = row.hardware.accelerators
    backend = backend_of(accelerators[0]) if accelerators else "cpu"
    extra = mtp_layers(shape, weights_bytes, row.task.settings, backend=backend)
    return Guessing(means="mtp", memory_bytes=extra.bytes) if extra else None


def guessing_lines(rows: Iterable[Contender]) -> list[str]:
    """Which of the rows can guess tokens ahead, and what that takes and gains."""
    found = {row.model.id: way for row in rows if (way := guessing(row))}
    measured = [
        say(
            "{model} answers {gain:.2f} times as fast with speculative decoding ({low:.2f} to "
            "{high:.2f}, measured here), for {memory} more.",
            model=model,
            gain=way.gain.value,
            low=way.gain.lowest,
            high=way.gain.highest,
            memory=format_bytes(way.memory_bytes),
        )
        for model, way in found.items()
        if way.gain
    ]
    rest = [
        f"{model} {format_bytes(way.memory_bytes)}" for model, way in found.items() if not way.gain
    ]
    if not rest:
        return measured
    return [
        *measured,
        say(
            "Layers of their own (MTP) can guess tokens ahead, for so much more memory: {models}. "
            "What that gains is not measured; for a file on this disk: {command}",
            models=listed(rest),
            command="hakaru tune MODEL.gguf --speculative",
        ),
    ]
