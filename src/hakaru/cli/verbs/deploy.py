"""How `hakaru deploy` is typed."""

from typing import TYPE_CHECKING

import click

from hakaru.cli.called import around
from hakaru.cli.number_types import TOKENS
from hakaru.cli.parameters import (
    PATH,
    dry_run_option,
    json_option,
    model_argument,
    parallel_options,
    taking,
    trust_option,
    type_options,
)

if TYPE_CHECKING:
    from hakaru.cli.commands.deploy import DeployOptions

TOPOLOGIES = ("single", "replicas", "layer_split")
TARGETS = ("rpc", "systemd", "vllm", "compose", "ray", "kubernetes")


@click.command()
@model_argument
@click.option("--cluster", type=PATH, required=True, help="The machines, as a TOML file.")
@click.option(
    "--target",
    type=click.Choice(TARGETS),
    required=True,
    help="llama.cpp: rpc (a script for each node), systemd. vLLM: vllm (a script for each node), "
    "compose, ray, kubernetes.",
)
@type_options(
    "As this preset, or for vLLM bf16, f16, fp8, awq, gptq or mxfp4.",
    "As the usual preset of so many bits: 8 is Q8_0, 4 is Q4_K_M; also 2, 3, 5, 6, 16, 32.",
)
@click.option(
    "--users",
    type=click.IntRange(1),
    metavar="N",
    help="How many ask at the same time.  [default: 1; with vLLM as many as go in]",
)
@click.option(
    "--context",
    "-c",
    type=TOKENS,
    help="Tokens of context that each of them has.  [default: 4096 or less]",
)
@click.option(
    "--weights",
    metavar="PATH|REPO",
    help="Where they lie on the nodes; for vLLM also a repository of Hugging Face.  [default: "
    "where they lie here, or the catalogue's]",
)
@click.option(
    "--programs",
    metavar="FOLDER",
    default="",
    help="llama.cpp's programs on every node.  [default: by PATH]",
)
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    default=8601,
    show_default=True,
    help="On the head's 127.0.0.1: llama-server's, with --run the gateway's.",
)
@parallel_options
@click.option("--image", metavar="NAME", help="The container's, where there is one.")
@trust_option
@click.option(
    "--topology",
    type=click.Choice(TOPOLOGIES),
    help="How llama.cpp runs on the nodes (rpc, systemd).  [default: as the plan has it]",
)
@click.option(
    "-o", "output", type=PATH, metavar="FOLDER", help="Where to write.  [default: MODEL-TARGET]"
)
@click.option("--overwrite", is_flag=True, help="Replace files that stand there.")
@click.option("--run", is_flag=True, help="Write nothing: start all now, until Ctrl-C (rpc, vllm).")
@click.option("--restart", is_flag=True, help="Begin again when a worker of the cluster is lost.")
@dry_run_option
@json_option
@taking
def deploy(options: "DeployOptions") -> int:
    """Write what runs a model on several machines. Scripts, units and manifests."""
    from hakaru.cli.commands import deploy as command

    return command.run(options, pages=around().pages)
