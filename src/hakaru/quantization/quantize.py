"""A smaller file of a model: the verb behind `hakaru quantize`."""

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from hakaru.errors import Misuse
from hakaru.memory.context import Context
from hakaru.models.presets import preset_of_bits, which_preset
from hakaru.models.sources.find import Reference
from hakaru.quantization.how_long import clocked
from hakaru.quantization.journal import locked_journal, unmeasured
from hakaru.quantization.order import Order
from hakaru.quantization.probes import Effort
from hakaru.quantization.to_preset import MadePreset, to_preset
from hakaru.quantization.whole_source import find_source
from hakaru.quantization.writer import check_target
from hakaru.session import Session, Tell, nobody_listens

if TYPE_CHECKING:  # a preset is written without what a budget needs
    from hakaru.quantization.made import Made


def quantize(
    model: Reference,
    *,
    bits: str | int | None = None,
    preset: str | None = None,
    bpw: str | float | None = None,
    size: str | int | None = None,
    fit: bool = False,
    tier: str | None = None,
    hardware: str | None = None,
    min_tokens_per_s: float | None = None,
    effort: Effort = "standard",
    importance: str | Path | None = None,
    pins: tuple[str, ...] = (),
    split: str | int | None = None,
    converter: Path | None = None,
    hear_converter: Tell = nobody_listens,
    output: Path | None = None,
    overwrite: bool = False,
    dry_run: bool = False,
    session: Session | None = None,
    **context: Unpack[Context],
) -> "Made | MadePreset":
    """Write a quantized file of `model` and measure what it lost.

    Example: `quantize("model.gguf", bpw=4.5).measured` is its mean KLD in nats per token.

    Exactly one target is named: a `preset` of llama.cpp's, such as "Q4_K_M", or the `bits` of the
    usual one, here 4; the bits per weight `bpw` or the `size` of the file, such as "4GiB"; `fit`,
    for this machine or the `hardware` that is named; or the `tier` of quality that is to be kept in
    the fewest bytes. All but a preset are budgets: the best mix of types is sought, as fast as
    `min_tokens_per_s` and with each of `pins`, such as "ffn_down=Q6_K", and raced against the
    presets on text that no step has seen.

    `importance` is "auto", "none" or an imatrix file; None is auto, but none for a preset that
    needs none. `split` writes parts of that size. A Hugging Face folder becomes a GGUF file first,
    by `converter`, whose words `hear_converter` hears. `output` is by default a file beside the
    model. With `dry_run` nothing is written, and only what takes seconds is measured. A call that
    was interrupted goes on where it was when it is made again.

    Raises Misuse, DoesNotFit, ModelError, Offline, MachineError and EngineError.
    """
    order = Order(
        preset=_preset(preset, bits), bpw=None if bpw is None else str(bpw), size=size, fit=fit,
        tier=tier, hardware=hardware, min_tokens_per_s=min_tokens_per_s, effort=effort,
        importance=None if importance is None else str(importance), pins=tuple(pins), split=split,
        output=output, overwrite=overwrite, dry_run=dry_run, context=context,
    )  # fmt: skip
    order.check()
    session = session or Session.here(keeps=order.preset is None and not dry_run)
    which = None if bits is None else which_preset(bits)
    return _made(model, order, session, converter, hear_converter, which)


def _preset(preset: str | None, bits: str | int | None) -> str | None:
    """The preset that is asked for, by its name or by a number of bits. Raises Misuse."""
    if bits is None:
        return preset
    if preset is not None:
        raise Misuse(
            "name one target: `bits`, `preset`, `bpw`, `size`, `fit` or `tier`; `bits` 4 is usual."
        )
    return preset_of_bits(bits)


def _goes_on(out: Path, digest: str, *, overwrite: bool) -> bool:
    """True if the order of this digest wrote `out` and only has to measure it. Raises Misuse where
    another order did, unless its file may be replaced.
    """
    writer = unmeasured(out)
    if out.exists() and writer not in {None, digest} and not overwrite:
        raise Misuse(
            "{path}: was written by a quantization that was interrupted before it measured the "
            "file; this call has other options, or that one was of another version of hakaru. Name "
            "another file with `output`, or add `overwrite`.",
            path=out,
        )
    return writer == digest


def _made(
    model: Reference,
    order: Order,
    session: Session,
    converter: Path | None,
    hear_converter: Tell,
    which: str | None,
) -> "Made | MadePreset":
    """The file of an order, or its plan. `which` is told when nothing speaks against it."""
    source = find_source(
        model,
        session,
        converter=converter,
        header_will_do=order.preset is not None and order.dry_run,
        preset=order.preset,
        dry_run=order.dry_run,
        on_line=hear_converter,
    )
    workplace = source.workplace
    out = order.output or workplace.with_name(f"{workplace.name}-{order.name}.gguf")
    digest = order.digest(source.model)
    goes_on = _goes_on(out, digest, overwrite=order.overwrite)
    check_target(source.model, out, overwrite=order.overwrite or goes_on)
    with nullcontext() if order.dry_run else locked_journal(out, digest) as journal:
        source.check_loads(session)
        if which:
            session.note(which)
        if order.preset:
            return to_preset(source.model, order.preset, order, out, journal, session)
        from hakaru.quantization.to_budget import to_budget

        if order.dry_run:
            return to_budget(source.model, order, out, journal, session)
        with clocked(session, source.model, order.effort, digest):
            return to_budget(source.model, order, out, journal, session)
