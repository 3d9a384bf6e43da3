"""What a person asks of a deployment. Pure."""

from msgspec import Struct

from hakaru.deploying.bundle import Target
from hakaru.planning.joined import Topology
from hakaru.vllm.parallel import Parallel


class Wishes(Struct, frozen=True, kw_only=True):
    """The arguments of `deploy`, which explains each."""

    target: Target
    users: int | None
    n_ctx: int | None
    type_name: str | None
    weights: str | None
    programs: str
    port: int
    image: str | None
    trusts_network: bool
    topology: Topology | None  # of llama.cpp; None: as the plan has it
    parallel: Parallel | None  # the shape of a replica of vLLM
