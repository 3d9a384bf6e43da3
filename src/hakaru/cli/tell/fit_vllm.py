"""What `hakaru fit --engine vllm` tells as text."""

from typing import Final

from hakaru.cli.output import print_text, show_table
from hakaru.cli.table import Cell, Column, Table, bytes_cell
from hakaru.cli.wrapping import whole
from hakaru.language import say
from hakaru.units import format_params, three_digits
from hakaru.vllm.launch import launches
from hakaru.vllm.proposal import Placed
from hakaru.vllm.vllm_fit import VllmFit

MOST_COMMANDS: Final = 4
"""Commands that are told; `--json` has all."""


def print_vllm_fit(fit: VllmFit) -> None:
    """The whole answer as text."""
    print_text(
        say(
            "{name} ({architecture}, {type}, {params} parameters) on vLLM, {n_ctx:,} tokens for "
            "each user",
            name=fit.name,
            architecture=fit.model.shape.architecture,
            type=fit.served.name,
            params=format_params(fit.model.n_params),
            n_ctx=fit.n_ctx,
        )
    )
    for placed in fit.proposal.placed:
        _print_placed(placed)
    print_text(
        say("It fits: {n:,} users at a time.", n=fit.proposal.users)
        if fit.proposal.fits
        else say("It does not fit.")
    )
    print_text(fit.reason)
    for smaller in fit.smaller:
        sentence = (
            say(
                "As {type} {n:,} users go in: see whether its answers are good enough first.",
                type=smaller.type,
                n=smaller.users,
            )
            if smaller.topology in {"tensor_parallel", "layer_split"}
            else say(
                "As {type} nothing is divided, and {n:,} users go in: see whether its answers are "
                "good enough first.",
                type=smaller.type,
                n=smaller.users,
            )
        )
        print_text(sentence)
    if fit.served.name == "mxfp4":
        print_text(
            say(
                "MXFP4 is counted as Marlin's kernels pad it; Triton's, on Hopper, pad less and "
                "leave more for the KV cache."
            )
        )
    _print_commands(fit)


def _print_placed(placed: Placed) -> None:
    option = placed.option
    replica = option.replica
    print_text(
        say(
            "Replicas: {n}, each on {devices} devices (tensor parallel {tp}, pipeline parallel "
            "{pp}); in each {tokens:,} tokens of KV cache, {users} users.",
            n=placed.n_replicas,
            devices=replica.parallel.n_ranks,
            tp=replica.parallel.tp,
            pp=replica.parallel.pp,
            tokens=replica.kv_tokens,
            users=replica.users,
        )
    )
    show_table(ranks_table(placed))
    print_text(
        say(
            "Activations, CUDA graphs and what lies outside of vLLM's part (driver, process, NCCL) "
            "are assumed, from vLLM's source and published logs; weights and KV cache are exact."
        )
    )
    time = option.time.total_ms
    if time is not None:
        print_text(
            say(
                "With all users at full context a token takes each of them at least {ms} ms "
                "(computed: reading weights and KV cache, and the network).",
                ms=three_digits(time),
            )
        )


def ranks_table(placed: Placed) -> Table:
    """One row for the ranks of each stage."""
    columns = [
        Column(say("device"), left=True),
        Column(say("layers")),
        *(
            Column(title, below=1)
            for title in (
                say("weights"),
                say("activations (assumed)"),
                say("CUDA graphs (assumed)"),
                say("KV pool"),
                say("vLLM's part"),
                say("outside (assumed)"),
            )
        ),
    ]
    tp = placed.option.replica.parallel.tp
    rows: list[list[str | Cell]] = [
        [
            f"{tp} x {rank.device.name}" if tp > 1 else rank.device.name,
            str(rank.layers),
            *(
                bytes_cell(n, "GiB")
                for n in (
                    rank.weights_bytes, rank.activation_bytes, rank.graphs_bytes, rank.pool_bytes,
                    rank.budget_bytes, rank.outside_bytes,
                )
            ),
        ]
        for rank in placed.option.replica.ranks
    ]  # fmt: skip
    return Table(columns, rows)


def _print_commands(fit: VllmFit) -> None:
    starts = list(launches(fit.proposal))
    for start in starts[:MOST_COMMANDS]:
        print_text(f"{start.node.name}: {whole(start.command('MODEL'))}")
    if len(starts) > MOST_COMMANDS:
        print_text(say("And {n:,} more: --json has all.", n=len(starts) - MOST_COMMANDS))
    if starts:
        print_text(
            say(
                "MODEL is the checkpoint (safetensors), as a folder or as its name on the Hub; a "
                "GGUF file is not what vLLM serves."
            )
        )
