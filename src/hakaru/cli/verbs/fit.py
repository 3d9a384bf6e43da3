"""How `hakaru fit` is typed."""

from typing import TYPE_CHECKING

import click

from hakaru.cli.number_types import TOKENS
from hakaru.cli.parameters import (
    PATH,
    cache_ram_option,
    context_options,
    hardware_option,
    json_option,
    memory_option,
    model_argument,
    parallel_options,
    taking,
    type_options,
)

if TYPE_CHECKING:
    from hakaru.cli.commands.fit import FitOptions


@click.command()
@model_argument
@type_options(
    "As this preset, which nobody needs to have built: Q4_K_M, IQ4_XS, …",
    "As the usual preset of so many bits: 8 is Q8_0, 4 is Q4_K_M; also 2, 3, 5, 6, 16, 32.",
)
@hardware_option
@click.option("--cluster", type=PATH, help="Several machines, as a TOML file describes them.")
@click.option(
    "--engine",
    type=click.Choice(["llama.cpp", "vllm"]),
    default="llama.cpp",
    show_default=True,
    help="vllm: for many users, from a checkpoint; --type: bf16, f16, fp8, awq, gptq or mxfp4.",
)
@click.option(
    "--users",
    type=click.IntRange(min=1),
    help="With vllm: users at a time, each with --context tokens.  [default: as many as go in]",
)
@parallel_options
@context_options
@cache_ram_option
@click.option("--mmproj", type=PATH, help="A projector file that is loaded beside it.")
@click.option("--vision", is_flag=True, help="Its own projector is loaded beside it.")
@click.option("--draft", metavar="MODEL", help="A draft model that is loaded beside it.")
@click.option("--mtp", is_flag=True, help="Its own layers for multi-token prediction draft.")
@click.option("--kv-unified", is_flag=True, help="All conversations share one KV cache.")
@memory_option
@click.option(
    "--source",
    type=click.Choice(["computed", "dry-run", "both"]),
    default="both",
    show_default=True,
    help="Whose figures.",
)
@click.option("--max-context", is_flag=True, help="Also: how long a context fits.")
@click.option(
    "--depth",
    type=TOKENS,
    default=0,
    show_default=True,
    help="Predict the speed behind so many tokens of context.",
)
@click.option(
    "--explain",
    "explain_terms",
    is_flag=True,
    help="Every term with its formula, summing to the total.",
)
@click.option(
    "--plot", type=PATH, help="Write the memory of every device as a picture (.svg or .png)."
)
@json_option
@taking
def fit(options: "FitOptions") -> int:
    """Does it fit, and where? Memory by part and device, computed and dry-run."""
    from hakaru.cli.commands import fit as command

    return command.run(options)
