"""What `hakaru fit` tells as text: parts, devices, the verdict and what would change it."""

from hakaru.cli.output import print_table, print_text
from hakaru.language import say, spelled
from hakaru.memory.terms import Term
from hakaru.planning.answer import Fit
from hakaru.planning.extras import Extra
from hakaru.planning.sentences import verdict_sentences, ways_sentences
from hakaru.planning.shares import Placement
from hakaru.units import format_bytes, format_params


def _print_extra(extra: Extra) -> None:
    told = {
        "dry_run": say("dry run"),
        "assumed": say("assumed, 0 to 15 % above the engine's own figure for ten projectors"),
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


def print_fit(fit: Fit, terms: list[Term]) -> None:
    """The whole answer as text."""
    model, settings = fit.model, fit.settings
    print_text(
        say(
            "{name} ({architecture}, {type}, {params} parameters) at {n_ctx} tokens of context",
            name=model.name,
            architecture=model.shape.architecture,
            type=model.type_name,
            params=format_params(model.n_params),
            n_ctx=settings.n_ctx,
        )
    )
    if terms:
        _print_terms(terms)
    print_table(["", say("computed"), say("dry run"), say("difference")], _rows(fit))
    if not fit.is_modelled:
        print_text(_unmodelled_sentence(fit))
    if checkpoints := fit.growth.sentence():
        print_text(checkpoints)
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
    if fit.flags:
        print_text(say("llama-server flags: {flags}", flags=" ".join(fit.flags)))


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
    rows = [[t.what, spelled(t.formula), spelled(t.where), f"{t.bytes:,} B"] for t in terms]
    rows.append([say("total"), "", "", f"{sum(t.bytes for t in terms):,} B"])
    print_table([say("what"), say("formula"), say("read from"), say("bytes")], rows, left=3)


def _print_devices(placement: Placement) -> None:
    """One row per device, and a bar in which each part has its own sign, so that no colour is
    needed.
    """
    rows = [
        [share.device.name, str(share.layers), *(format_bytes(n) for n in share.bar),
         format_bytes(share.device.usable_bytes), bar(share.bar, share.device.usable_bytes)]
        for share in placement.devices
    ]  # fmt: skip
    print_table([say("device"), say("layers"), say("weights"), say("KV cache"), say("compute"),
        say("other"),
                 say("with use"), say("free"), "█ ▓ ▒ ░ + |"], rows)  # fmt: skip
    if converted := max(s.conversion_bytes for s in placement.devices):
        print_text(
            say(
                "Of compute, {bytes} on an accelerator are for attention, which reads one "
                "layer's KV cache in F16.",
                bytes=format_bytes(converted),
            )
        )


BAR_CELLS = 24


def bar(parts: tuple[int, ...], limit: int) -> str:
    """Parts of `limit` in 24 cells, █ weights, ▓ KV cache, ▒ compute, ░ other, + with use, and |
    where the memory ends.
    """
    scale = BAR_CELLS / max(limit, sum(parts), 1)
    filled, done = "", 0.0
    for sign, part in zip("█▓▒░+", parts, strict=True):
        done += part
        filled += sign * (round(done * scale) - len(filled))
    edge = min(BAR_CELLS, round(limit * scale))
    cells = filled.ljust(BAR_CELLS)
    return cells[:edge] + "|" + cells[edge:]


def _rows(fit: Fit) -> list[list[str]]:
    labels = {
        "weights_bytes": say("weights"),
        "kv_cache_bytes": say("KV cache"),
        "compute_bytes": say("compute"),
        "output_bytes": say("output"),
        "overhead_bytes": say("process (assumed)"),
    }
    come = {
        "checkpoints_bytes": say("context checkpoints, with use"),
        "requests_bytes": say("requests, with use (assumed)"),
    }
    growth = {key: getattr(fit.growth, key) for key in come}
    sides = [side.parts() | growth if side else {} for side in (fit.computed, fit.dry_run)]
    rows = []
    for key, label in (
        labels | {k: v for k, v in come.items() if growth[k]} | {"total": say("total")}
    ).items():
        ours, engine = (side.get(key, sum(side.values())) if side else None for side in sides)
        difference = f"{ours - engine:+,} B" if ours is not None and engine is not None else "-"
        rows.append(
            [
                label,
                *(format_bytes(v) if v is not None else "-" for v in (ours, engine)),
                difference,
            ]
        )
    return rows
