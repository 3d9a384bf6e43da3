"""What a person would have to write to run a model on a cluster: the verb behind `hakaru deploy`.

The plan is that of `fit` over the cluster: with llama.cpp's RPC for the targets `rpc` and
`systemd`, and else with vLLM.
"""

from pathlib import Path
from typing import Final

from hakaru.deploying.bundle import Bundle, Target
from hakaru.deploying.over_rpc import over_rpc
from hakaru.deploying.over_vllm import over_vllm
from hakaru.deploying.wishes import Wishes
from hakaru.errors import Misuse
from hakaru.language import listed
from hakaru.models.sources.find import Reference
from hakaru.planning.joined import Topology
from hakaru.session import Session
from hakaru.vllm.parallel import Parallel

OVER_RPC: Final = {"rpc", "systemd"}
PORT: Final = 8601
"""At which llama-server listens on the head's loopback, beside the gateway's 8600."""


def deploy(
    model: Reference,
    *,
    cluster: Path,
    target: Target,
    type_name: str | None = None,
    users: int | None = None,
    n_ctx: int | None = None,
    weights: str | None = None,
    programs: str = "",
    port: int = PORT,
    image: str | None = None,
    trust_network: bool = False,
    topology: Topology | None = None,
    parallel: Parallel | None = None,
    session: Session | None = None,
) -> Bundle:
    """The files that run `model` on the nodes of the file `cluster`, for the `target`.

    `users` ask at the same time, each with `n_ctx` tokens of context; without them it is one user
    with llama.cpp, and as many as go in with vLLM. `type_name` judges the model at a preset, or
    with vLLM at one of the types that it serves. `weights` is where they lie on the nodes: a path,
    or for vLLM also a repository of Hugging Face; without it, where they lie here, or the
    catalogue's repository. `programs` is the folder of llama.cpp's programs on every node; empty:
    they are found by PATH. `port` is llama-server's, on the head's loopback. `image` is the
    container's, for the targets that have one. `trust_network` lets nodes speak to each other
    without encryption: who reaches them is trusted. `topology` is how llama.cpp runs on the nodes,
    and `parallel` the shape of vLLM's replicas; None: as is best. Nothing is written or started.

    Raises Misuse, DoesNotFit, ModelError, Offline and EngineError.
    """
    wishes = Wishes(
        target=target,
        users=users,
        n_ctx=n_ctx,
        type_name=type_name,
        weights=weights,
        programs=programs,
        port=port,
        image=image,
        trusts_network=trust_network,
        topology=topology,
        parallel=parallel,
    )
    _check(wishes)
    over = over_rpc if target in OVER_RPC else over_vllm
    return over(model, cluster, wishes, session)


def _check(wishes: Wishes) -> None:
    """Raises Misuse for what the target has no use for, and a folder that begins nowhere."""
    over_llama_cpp = wishes.target in OVER_RPC
    foreign = {
        "`programs`": wishes.programs and not over_llama_cpp,
        "`image`": wishes.image and (over_llama_cpp or wishes.target == "vllm"),
        "`tensor_parallel`, `pipeline_parallel`": wishes.parallel and over_llama_cpp,
        "`topology`": wishes.topology and not over_llama_cpp,
    }
    if given := [name for name, is_given in foreign.items() if is_given]:
        raise Misuse(
            "{options}: not for the target {target}; leave it out.",
            options=listed(given),
            target=wishes.target,
        )
    if wishes.programs and not wishes.programs.startswith("/"):
        raise Misuse(
            "{field} {path}: expected a whole path, from the root of the node's files.",
            field="`programs`",
            path=wishes.programs,
        )
