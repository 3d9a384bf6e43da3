"""What `hakaru fit` tells as text: parts, devices, the verdict and what would change it."""

from collections.abc import Sequence
from typing import Final

from hakaru.cli.output import print_text, show_table
from hakaru.cli.table import Cell, Column, Table, bytes_cell
from hakaru.cli.tell.predicted import speed_sentences
from hakaru.cli.wrapping import whole
from hakaru.language import say, spelled
from hakaru.memory.terms import Term
from hakaru.models.spoken_type import spoken_type
from hakaru.planning.answer import Fit
from hakaru.planning.extras import Extra
from hakaru.planning.sentences import verdict_sentences, ways_sentences
from hakaru.planning.shares import Placement
from hakaru.units import format_bytes, format_params, unit_beside


def _print_extra(extra: Extra) -> None:
    told = {
        "dry_run": say("dry run"),
        "assumed": say("assumed, 0 to 15% above the engine's own figure for 17 projectors"),
    }
    print_text(
        say(
            "Beside it: {name}, {bytes}: weights {weights}, KV cache {kv}, compute {compute} "
            "({source}), in RAM {host}",
            name=extra.name,
            bytes=format_bytes(extra.bytes),
            weights=format_bytes(extra.weights_bytes),
            kv=format_bytes(extra.kv_cache_bytes),
            compute=format_bytes(extra.compute_bytes),
            source=told.get(extra.source, say("computed")),
            host=format_bytes(extra.host_bytes),
        )
    )
    if extra.growth_bytes:
        print_text(
            say(
                "{bytes} of it are taken when the largest picture comes (assumed); "
                "--image-max-tokens of llama-server bounds it.",
                bytes=format_bytes(extra.growth_bytes),
            )
        )


def print_fit(fit: Fit, terms: list[Term], check: str = "") -> None:
    """The whole answer as text. `check` is the command that measures the speed."""
    model, settings = fit.model, fit.settings
    print_text(
        say(
            "{name} ({architecture}, {type}, {params} parameters) at {n_ctx:,} tokens of context",
            name=model.name,
            architecture=model.shape.architecture,
            type=spoken_type(model),
            params=format_params(model.n_params),
            n_ctx=settings.n_ctx,
        )
    )
    if terms:
        _print_terms(terms)
    show_table(parts_table(fit))
    if not fit.is_modelled:
        print_text(_unmodelled_sentence(fit))
    if checkpoints := fit.growth.sentence():
        print_text(checkpoints)
    if prompts := fit.growth.of_prompts():
        print_text(prompts)
    for extra in fit.extras:
        _print_extra(extra)
    _print_devices(fit.placement)
    for sentence in verdict_sentences(fit.placement, fit.margin.fraction):
        print_text(sentence)
    print_text(fit.margin.sentence())
    if fit.verdict != "fits":
        for sentence in ways_sentences(fit.alternatives):
            print_text(sentence)
    if fit.max_context is not None:
        print_text(
            say("It fits comfortably up to {n} tokens of context.", n=f"{fit.max_context:,}")
            if fit.max_context
            else say("It does not fit even with a context of 256 tokens.")
        )
    if fit.joined:
        print_text(fit.joined.reason)
        print_text(
            fit.joined.network.sentence()
            if fit.joined.network
            else say(
                "How much of a token's time the network takes is not known; measure it: {command}",
                command=whole("hakaru cluster check FILE --write"),
            )
        )
    if fit.speed:
        for sentence in speed_sentences(fit.speed, check):
            print_text(sentence)
    if fit.flags:
        print_text(say("llama-server flags: {flags}", flags=whole(" ".join(fit.flags))))


def _unmodelled_sentence(fit: Fit) -> str:
    architecture = fit.model.shape.architecture
    if not fit.placement.shares:
        return say(
            "hakaru has no arithmetic for the architecture '{architecture}' yet; the engine's "
            "dry run is the answer.",
            architecture=architecture,
        )
    return say(
        "hakaru has no arithmetic for the architecture '{architecture}' yet. The weights of each "
        "device are exact, the sums are the engine's dry run; how much of the KV cache each layer "
        "keeps, and what each device computes with, is assumed.",
        architecture=architecture,
    )


def _print_terms(terms: list[Term]) -> None:
    show_table(terms_table(terms))


def terms_table(terms: Sequence[Term]) -> Table:
    """One row per term; in a narrow terminal its formula, and where it was read, stand below it."""
    columns = [
        Column(say("what"), left=True),
        Column(say("formula"), left=True, below=1),
        Column(say("read from"), left=True, below=2),
        Column(say("bytes"), below=1),
    ]
    rows = [[t.what, spelled(t.formula), spelled(t.where), f"{t.bytes:,} B"] for t in terms]
    return Table(columns, [*rows, [say("total"), "", "", f"{sum(t.bytes for t in terms):,} B"]])


def unit_of(placement: Placement) -> str:
    """The unit of all sizes of the answer: that of its verdict."""
    fullest = placement.fullest
    return unit_beside(fullest.needed_bytes, fullest.device.usable_bytes)


def devices_table(placement: Placement) -> Table:
    """One row per device, and a bar in which each part has the sign that stands before its title,
    so that no colour is needed. In a narrow terminal the parts stand below the bar.
    """
    parts = [say("weights"), say("KV cache"), say("compute"), say("other"), say("with use")]
    unit = unit_of(placement)
    short = {say("KV cache"): "KV"}
    columns = [
        Column(say("device"), left=True),
        Column(say("layers")),
        *(
            Column(
                Cell(f"{sign} {title}", f"{sign}{short.get(title, title)}"), below=1, shortens=(3,)
            )
            for sign, title in zip(f"{SIGNS}|", [*parts, say("free")], strict=True)
        ),
        Column("", left=True, shortens=(1, 2)),
    ]
    rows = list[list[str | Cell]]()
    for share in placement.devices:
        usable = share.device.usable_bytes
        bars = [bar(share.bar, usable, n) for n in BAR_CELLS]
        rows.append(
            [
                share.device.name,
                str(share.layers),
                *(bytes_cell(n, unit) for n in share.bar),
                bytes_cell(usable, unit_beside(usable, placement.fullest.needed_bytes)),
                Cell(*bars),
            ]
        )
    return Table(columns, rows)


def _print_devices(placement: Placement) -> None:
    show_table(devices_table(placement))
    if converted := max(s.conversion_bytes for s in placement.devices):
        print_text(
            say(
                "Of compute, {bytes} on an accelerator are for attention, which reads one "
                "layer's KV cache in F16.",
                bytes=format_bytes(converted),
            )
        )


SIGNS: Final = "█▓▒░+"
"""Of the parts in a bar: weights, KV cache, compute, other, with use."""
BAR_CELLS: Final = (48, 24, 12)


def bar(parts: tuple[int, ...], limit: int, n_cells: int) -> str:
    """Parts of `limit` in `n_cells`, each with its sign, and | where the memory ends."""
    scale = n_cells / max(limit, sum(parts), 1)
    filled, done = "", 0.0
    for sign, part in zip(SIGNS, parts, strict=True):
        done += part
        filled += sign * (round(done * scale) - len(filled))
    edge = min(n_cells, round(limit * scale))
    cells = filled.ljust(n_cells)
    return cells[:edge] + "|" + cells[edge:]


def parts_table(fit: Fit) -> Table:
    """One row per part, by our arithmetic and by the engine's dry run."""
    columns = [
        Column("", left=True),
        Column(say("computed"), shortens=(1,)),
        Column(say("dry run"), shortens=(1,)),
        Column(say("difference")),
    ]
    return Table(columns, _rows(fit))


def _rows(fit: Fit) -> list[list[str | Cell]]:
    labels = {
        "weights_bytes": say("weights"),
        "kv_cache_bytes": say("KV cache"),
        "compute_bytes": say("compute"),
        "output_bytes": say("output"),
        "overhead_bytes": say("process (assumed)"),
    }
    come = {
        "checkpoints_bytes": say("context checkpoints, with use"),
        "prompts_bytes": say("prompts in RAM, with use"),
        "requests_bytes": say("requests, with use (assumed)"),
    }
    growth = {key: getattr(fit.growth, key) for key in come}
    unit = unit_of(fit.placement)
    sides = [side.parts() | growth if side else {} for side in (fit.computed, fit.dry_run)]
    rows = list[list[str | Cell]]()
    for key, label in (
        labels | {k: v for k, v in come.items() if growth[k]} | {"total": say("total")}
    ).items():
        ours, engine = (side.get(key, sum(side.values())) if side else None for side in sides)
        difference = f"{ours - engine:+,} B" if ours is not None and engine is not None else "-"
        rows.append([label, bytes_cell(ours, unit), bytes_cell(engine, unit), difference])
    return rows
