"""What a mix gains over the best preset of its size, told as text and as JSON."""

from pathlib import Path
from typing import Any

from hakaru.choosing.mix_gain import Gain
from hakaru.cli.output import print_text, show_table
from hakaru.cli.paste import pasted
from hakaru.cli.table import Column, Table
from hakaru.cli.wrapping import whole
from hakaru.evaluation.tiers import Quality, one_word_in
from hakaru.language import say
from hakaru.quantization.build import Recipe
from hakaru.units import bytes_told, common_unit, format_bytes


def print_gain(gain: Gain) -> None:
    """Preset and mix side by side, what is copied, and the command that makes the mix."""
    print()
    print_text(
        say(
            "What hakaru gains: our mix, in which each tensor has its own type, beside the best "
            "ready-made preset that is smaller than the source, on the same {n} texts. The source "
            "itself loses 0.",
            n=gain.mix_quality.n_windows,
        )
    )
    titles = ("", say("size"), say("bits"), say("loss"), say("top-1"))
    columns = [Column(title, left=i == 0) for i, title in enumerate(titles)]
    unit = common_unit(gain.preset.weights_bytes, gain.mix.weights_bytes)
    preset = _row(gain.preset.preset, gain.preset, gain.preset_quality, unit)
    show_table(Table(columns, [preset, _row(say("our mix"), gain.mix, gain.mix_quality, unit)]))
    print_text(_verdict(gain))
    print_text(
        say(
            "At most one word in {few} comes out differently with {preset}, at most one in {many} "
            "with the mix.",
            few=one_word_in(gain.preset_quality.kld_mean.highest),
            preset=gain.preset.preset,
            many=one_word_in(gain.mix_quality.kld_mean.highest),
        )
    )
    print_text(
        say(
            "{n} of the mix's {of} matrices ({bytes}) are copies, which lose nothing: that is part "
            "of the figure. The mix takes no part in the choice below: {texts} texts cannot prove "
            "that it keeps a tier.",
            n=gain.n_copied,
            of=gain.n_tensors,
            bytes=format_bytes(gain.copied_bytes),
            texts=gain.mix_quality.n_windows,
        )
    )
    if gain.is_better:
        print_text(say("To write exactly this mix to a file:"))
        print_text(f"  {whole(command(gain))}")


def gain_json(gain: Gain) -> dict[str, Any]:
    """The object `gain` of `hakaru up --json`."""
    return {**gain.as_json(), "command": command(gain)}


def command(gain: Gain) -> str:
    """The command that writes the mix into the current folder."""
    source = gain.source.path
    out = Path(f"{source.stem}-{gain.mix.preset}.gguf")
    return pasted("hakaru", "quantize", source, "--type", gain.mix.preset, "-o", out)


def _verdict(gain: Gain) -> str:
    ratio = gain.ratio
    if not gain.is_better:
        return say(
            "It is not proven that the mix loses less than {preset}: {low:.0%} to {high:.0%} of "
            "its loss.",
            preset=gain.preset.preset,
            low=ratio.lowest,
            high=ratio.highest,
        )
    return say(
        "The mix loses {percent:.0%} less than {preset} (at least {least:.0%} less, with 95% "
        "certainty) and takes {bytes} less.",
        percent=1 - ratio.value,
        least=1 - ratio.highest,
        preset=gain.preset.preset,
        bytes=format_bytes(gain.preset.weights_bytes - gain.mix.weights_bytes),
    )


def _row(name: str, recipe: Recipe, lost: Quality, unit: str) -> list[str]:
    return [
        name,
        bytes_told(recipe.weights_bytes, unit),
        f"{recipe.bpw:.2f}",
        f"{lost.kld_mean.value:.4f}",
        f"{lost.top1_agreement.value:.1%}",
    ]
