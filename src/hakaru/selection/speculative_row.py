"""What can guess tokens ahead for a row of `choose`, and the memory that it takes more. Its gain is
what `hakaru tune --speculative` measured here, else not known. Pure.
"""

from collections.abc import Iterable, Mapping, Sequence

from hakaru.language import listed, say
from hakaru.memory.flash_attention import Backend
from hakaru.planning.backends import backend_of
from hakaru.planning.extras import draft_context, mtp_layers
from hakaru.selection.catalogue_sizes import sized
from hakaru.selection.contender import Contender
from hakaru.selection.drafts_here import DraftHere, draft_for
from hakaru.selection.remembered import Guessing
from hakaru.units import format_bytes


def guessing(row: Contender, drafts: Sequence[DraftHere] = ()) -> Guessing | None:
    """What was measured for the row, else its own layers for it, else a draft on this disk; None
    where it has none.
    """
    if row.measured and row.measured.guessing:
        return row.measured.guessing
    if not row.writes:
        return None
    return _own_layers(row) or _drafted(row, drafts)


def _drafted(row: Contender, drafts: Sequence[DraftHere]) -> Guessing | None:
    draft = draft_for(row, drafts)
    if draft is None:
        return None
    model, load = draft.model, sized(draft.model, draft.type).load
    extra = draft_context(model.id, model.shape, load, row.task.settings, backend=_backend(row))
    return (
        Guessing(means="draft", memory_bytes=extra.bytes, draft=str(draft.path)) if extra else None
    )


def _backend(row: Contender) -> Backend:
    accelerators = row.hardware.accelerators
    return backend_of(accelerators[0]) if accelerators else "cpu"


def _own_layers(row: Contender) -> Guessing | None:
    shape, weights_bytes = row.task.shape, row.sized.file_bytes - row.sized.load.total_bytes
    if not row.model.n_params_mtp or weights_bytes <= 0:
        return None
    if not shape.n_layer_nextn or not shape.record.guesses:
        return None
    extra = mtp_layers(shape, weights_bytes, row.task.settings, backend=_backend(row))
    return Guessing(means="mtp", memory_bytes=extra.bytes) if extra else None


def guessing_lines(rows: Iterable[Contender], drafts: Sequence[DraftHere] = ()) -> list[str]:
    """For which of the rows tokens can be guessed ahead, and what that takes and gains."""
    found = {row.model.id: way for row in rows if (way := guessing(row, drafts))}
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
    return [*measured, *_not_measured(found)]


def _not_measured(found: Mapping[str, Guessing]) -> list[str]:
    lines = []
    if layers := [
        f"{model} {format_bytes(way.memory_bytes)}"
        for model, way in found.items()
        if not way.gain and way.means == "mtp"
    ]:
        lines.append(
            say(
                "Layers of their own (MTP) can guess tokens ahead, for so much more memory: "
                "{models}. What that gains is not measured; for a file on this disk: {command}",
                models=listed(layers),
                command="hakaru tune MODEL.gguf --speculative",
            )
        )
    if drafts := [
        f"{way.draft.rpartition('/')[2]} → {model} {format_bytes(way.memory_bytes)}"
        for model, way in found.items()
        if not way.gain and way.draft
    ]:
        lines.append(
            say(
                "Smaller models on this disk can guess tokens ahead, for so much more memory: "
                "{pairs}. What that gains is not measured, and their vocabularies are compared by: "
                "{command}",
                pairs=listed(drafts),
                command="hakaru tune MODEL.gguf --speculative",
            )
        )
    return lines
