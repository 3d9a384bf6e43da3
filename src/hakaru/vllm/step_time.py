"""The least time of one step of a replica, in which each of its users gets a token. Pure.

Weights and KV cache are read once, at the memory's bandwidth, and what crosses the network is sent:
the sums of tensor parallel twice a layer, or the values at a border of stages. All else (kernels,
sampling, the link inside a machine) comes on top, so a real step takes longer.
"""

from msgspec import Struct

from hakaru.clusters.cluster import Link
from hakaru.models.model import Model
from hakaru.vllm.parallel import n_own_layers
from hakaru.vllm.replica import Replica


class StepTime(Struct, frozen=True, kw_only=True):
    """Milliseconds of a step, computed. None: a bandwidth that the time rests on is not known."""

    read_ms: float | None
    network_ms: float | None  # 0 within one machine

    @property
    def total_ms(self) -> float | None:
        """Both together."""
        if self.read_ms is None or self.network_ms is None:
            return None
        return self.read_ms + self.network_ms

    def as_json(self) -> dict[str, object]:
        """The time as it stands in `--json`."""
        return {"read_ms": self.read_ms, "network_ms": self.network_ms, "source": "computed"}


def step_time(model: Model, replica: Replica, n_nodes: int, link: Link | None) -> StepTime:
    """The step of a replica over `n_nodes` machines, when all its users have a full context."""
    return StepTime(
        read_ms=_read_ms(model, replica), network_ms=_network_ms(model, replica, n_nodes, link)
    )


def _read_ms(model: Model, replica: Replica) -> float | None:
    """Stages read one after the other. Of experts, those that the users' tokens name if each names
    any as often as the others.
    """
    part = 1 - (1 - model.shape.part_of_experts) ** max(1, replica.users)
    total = 0.0
    for rank in replica.ranks:
        bandwidth = rank.device.bandwidth_gb_s
        if not bandwidth:
            return None
        kv = rank.user_bytes * replica.users
        total += (rank.weights_bytes * part + kv) / (bandwidth * 1e6)
    return total


def _network_ms(model: Model, replica: Replica, n_nodes: int, link: Link | None) -> float | None:
    """A ring of `tp` ranks sends each sum in 2 (tp - 1) messages of a part of it."""
    if n_nodes == 1:
        return 0.0
    if link is None:
        return None
    tp, pp = replica.parallel.tp, replica.parallel.pp
    values = 2 * model.shape.n_embd * max(1, replica.users)  # bytes, 16 bits each
    one_way_ms, ms_per_byte = link.ping_ms / 2, 8 / (link.gbit_per_s * 1e6)
    borders = (min(pp, n_nodes) - 1) * (one_way_ms + 2 * values * ms_per_byte)
    if pp >= n_nodes:
        return borders
    messages = 2 * (tp - 1)
    each = messages * (one_way_ms + values / tp * ms_per_byte)
    return borders + 2 * n_own_layers(model.shape) * each
