"""`hakaru quantize`: a preset of llama.cpp's, or the best mix for a budget, each written to a file
that is read back.
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hakaru.cli.next_steps import after_dry_run, after_quantize
from hakaru.cli.output import next_step, print_json, print_text
from hakaru.cli.paste import pasted
from hakaru.cli.progress import Watching
from hakaru.cli.tell.predicted import speed_sentences
from hakaru.cli.terminal import terminal_session
from hakaru.cli.wrapping import whole
from hakaru.language import say
from hakaru.memory.context import Context
from hakaru.quantization.quantize import quantize
from hakaru.quantization.to_preset import MadePreset

if TYPE_CHECKING:
    from hakaru.quantization.made import Made
    from hakaru.quantization.probes import Effort


@dataclass(frozen=True, kw_only=True)
class QuantizeOptions:
    """`hakaru quantize`; exactly one of `bits`, `type_`, `bpw`, `size`, `fit` and `quality`
    is given.
    """

    model: str
    bits: str | None  # of the usual preset: 4 is Q4_K_M
    type_: str | None
    bpw: str | None
    size: str | None
    fit: bool
    quality: str | None
    hardware: str | None
    context: int | None
    min_speed: float | None
    effort: "Effort"
    importance: str | None  # None: auto, but none for a preset that needs none
    pins: tuple[str, ...]
    split: str | None
    converter: Path | None
    output: Path | None
    overwrite: bool
    dry_run: bool
    json: bool


def run(options: QuantizeOptions) -> int:
    """Write a quantized model file: to a preset, or to a budget. Returns 1 for a file that fails
    its tier.
    """
    context = Context() if options.context is None else Context(n_ctx=options.context)
    races = options.type_ is None and options.bits is None and not options.dry_run
    with Watching(quiet=options.json) as watch:
        made = quantize(
            options.model,
            bits=options.bits,
            preset=options.type_,
            bpw=options.bpw,
            size=options.size,
            fit=options.fit,
            tier=options.quality,
            hardware=options.hardware,
            min_tokens_per_s=options.min_speed,
            effort=options.effort,
            importance=options.importance,
            pins=options.pins,
            split=options.split,
            converter=options.converter,
            hear_converter=lambda line: None if options.json else print(line, file=sys.stderr),
            output=options.output,
            overwrite=options.overwrite,
            dry_run=options.dry_run,
            session=terminal_session(watching=watch, quiet=options.json, keeps=races),
            **context,
        )
    if options.json:
        print_json(made.as_json())
    elif isinstance(made, MadePreset):
        _print_preset(made)
    else:
        from hakaru.cli.tell.quantize import print_made

        print_made(made)
    if not options.json and options.dry_run:
        next_step(after_dry_run())
    elif not options.json:
        next_step(after_quantize(made.path, made.source.path, _broken_tier(made)))
    return 0 if isinstance(made, MadePreset) or made.keeps_tier else 1


def _broken_tier(made: "Made | MadePreset") -> str | None:
    """The tier that was asked for and is proven to be broken; None where none is."""
    if isinstance(made, MadePreset) or made.keeps_tier or made.plan.target.tier is None:
        return None
    return made.plan.target.tier.name


def _print_preset(made: MadePreset) -> None:
    """Where the file of a preset is, or would be."""
    if made.written is None:
        print_text(
            say(
                "Dry run: {path} would be written; nothing was changed.", path=whole(str(made.path))
            )
        )
        if made.speed:
            for sentence in speed_sentences(made.speed, pasted("hakaru", "bench", made.path)):
                print_text(sentence)
    else:
        print_text(
            say(
                "{path}: written, read back and verified: llama.cpp loads it.",
                path=whole(str(made.path)),
            )
        )
