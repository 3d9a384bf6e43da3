"""What the network adds to a token where llama.cpp spreads a model over workers by its RPC. Pure.

For each token the head sends every device of a worker the states that its first layer reads, with
positions, cells and mask, starts its graph, and fetches what its last layer wrote: the input of the
next device, or the logits. Only the fetch is answered, so each device costs one round trip; states
go from worker to worker through the head. For a prompt the same happens for each micro-batch, and
once for a new shape the graph itself is sent, behind four questions of how large buffers are.

Source: llama.cpp, ggml/src/ggml-rpc/ggml-rpc.cpp; counted by benchmarks/cluster.py, in which the
bytes of a decoded token come out to the last one.
"""

from typing import Final

from msgspec import Struct
from msgspec.structs import asdict, replace

from hakaru.clusters.cluster import Cluster, Link
from hakaru.language import say
from hakaru.memory.settings import ContextSettings
from hakaru.models.shape import Shape
from hakaru.planning.shares import Layout
from hakaru.planning.speed_figures import Basis, PredictedSpeed, Sample, SpeedPrediction
from hakaru.units import three_digits

MESSAGE: Final = 314
"""Bytes around the content of one that sets a tensor: command, size, tensor, flag, offset."""
START_AND_FETCH: Final = 21 + 321  # RECOMPUTE, then GET_TENSOR
ANSWER: Final = 8  # its size
STATES_FROM_RAM: Final = 3
"""As many rows of states come to the first layer from the embeddings in RAM: two kinds of input,
and what chooses between them.
"""
GRAPH_PER_LAYER: Final = 12_800
"""Bytes that describe a layer, once for a new shape: counted for SmolLM2 (42 tensors), and assumed
for others.
"""
NEW_SHAPE_TRIPS: Final = 4
CELLS: Final = 256  # the cells of a mask are padded to these
LEAST_TOKENS_PER_S: Final = 5.0
"""Slower than reading (hardware/machine.py): a network that allows no more is too slow."""


class Crossing(Struct, frozen=True, kw_only=True):
    """What goes between the head and one device of a worker, and back."""

    node: str
    link: Link
    round_trips: int
    up_bytes: int
    down_bytes: int

    @property
    def seconds(self) -> float:
        """How long that takes."""
        n_bits = 8 * (self.up_bytes + self.down_bytes)
        return self.round_trips * self.link.ping_ms / 1e3 + n_bits / (self.link.gbit_per_s * 1e9)


class NetworkTime(Struct, frozen=True, kw_only=True):
    """What the network adds."""

    token: tuple[Crossing, ...]  # to each decoded token, by device
    prompt: tuple[Crossing, ...]  # to a prompt of `n_prompt` tokens
    n_prompt: int

    @property
    def token_s(self) -> float:
        """Seconds of each decoded token."""
        return sum(crossing.seconds for crossing in self.token)

    @property
    def prompt_s(self) -> float:
        """Seconds of the prompt."""
        return sum(crossing.seconds for crossing in self.prompt)

    @property
    def is_too_slow(self) -> bool:
        """Whether it is slower than reading, whatever computes."""
        return self.token_s * LEAST_TOKENS_PER_S > 1

    def sentence(self) -> str:
        """The time of a token, with its arithmetic."""
        n_trips = sum(one.round_trips for one in self.token)
        n_bytes = sum(one.up_bytes + one.down_bytes for one in self.token)
        told = say(
            "The network takes {ms} ms of each token (round trips: {trips}; data: "
            "{kilobytes:,.1f} kB), at {links}; so at most {most:,.0f} tokens/s, whatever computes.",
            ms=three_digits(1e3 * self.token_s),
            trips=n_trips,
            kilobytes=n_bytes / 1e3,
            links=", ".join(dict.fromkeys(map(_link_told, self.token))),
            most=1 / self.token_s,
        )
        if not self.is_too_slow:
            return told
        slow = say("That is slower than reading: this link is too slow for a split.")
        return f"{told} {slow}"

    def as_json(self) -> dict[str, object]:
        """The object `network` of `cluster` in `hakaru fit --json`."""
        return {
            "seconds_per_token": float(f"{self.token_s:.4g}"),
            "seconds_per_prompt": float(f"{self.prompt_s:.4g}"),
            "n_prompt": self.n_prompt,
            "is_too_slow": self.is_too_slow,
            "token": [asdict(one) | {"link": asdict(one.link)} for one in self.token],
        }


def _link_told(crossing: Crossing) -> str:
    link = crossing.link
    how = say("measured") if link.source else say("as the file says")
    return f"{link.gbit_per_s:g} Gbit/s, {link.ping_ms:g} ms ({how})"


def network_time(
    cluster: Cluster,
    shape: Shape,
    settings: ContextSettings,
    layout: Layout,
    *,
    depth: int,
    sample: Sample,
) -> NetworkTime | None:
    """What the network adds to a token behind `depth` others and to a prompt; None where a link is
    not known, or no worker has a part.
    """
    counts, nodes = layout.counts, cluster.rpc_devices()
    used = [i for i, count in enumerate(counts) if count]
    token, prompt = [], []
    for i in (i for i in used if i < len(nodes)):
        link = cluster.between(cluster.head, nodes[i])
        if link is None:
            return None
        from_ram = STATES_FROM_RAM if i == used[0] else 1
        n_out = shape.n_vocab if i == used[-1] else None
        sides = _Side(n_embd=shape.n_embd, n_out=n_out, rows=from_ram, n_layer=counts[i])
        one = Crossing(node=nodes[i].name, link=link, round_trips=0, up_bytes=0, down_bytes=0)
        seen = min(depth + sample.n_decoded // 2, settings.n_ctx)
        token.append(sides.step(one, settings.n_parallel, seen, n_outputs=settings.n_parallel))
        prompt.append(sides.prompt(one, sample.n_prompt, settings.n_ubatch, depth))
    if not token:
        return None
    return NetworkTime(token=tuple(token), prompt=tuple(prompt), n_prompt=sample.n_prompt)


class _Side(Struct, frozen=True, kw_only=True):
    """One device's part of a model, as the wire sees it."""

    n_embd: int
    n_out: int | None  # numbers of the logits, where they are computed here
    rows: int  # of states that come in, for each token
    n_layer: int

    def step(self, one: Crossing, n_tokens: int, n_seen: int, *, n_outputs: int) -> Crossing:
        """`one`, with what `n_tokens` at a time add behind `n_seen`, and the logits of some."""
        n_messages = 4 + self.rows + (self.rows > 1) + (self.n_out is not None)
        cells = -(-max(1, n_seen) // CELLS) * CELLS
        beside = 4 + 8 + 8 + 8 * (self.rows > 1)  # position, cells of K and V, slot
        content = 4 * self.n_embd * self.rows + beside + 2 * cells
        n_back = n_tokens * self.n_embd if self.n_out is None else n_outputs * self.n_out
        once = MESSAGE * n_messages + START_AND_FETCH + 4 * (self.n_out is not None)
        return replace(
            one,
            round_trips=one.round_trips + 1,
            up_bytes=one.up_bytes + n_tokens * content + once,
            down_bytes=one.down_bytes + 4 * n_back + ANSWER,
        )

    def prompt(self, one: Crossing, n_prompt: int, n_ubatch: int, depth: int) -> Crossing:
        """`one`, with what a prompt adds, micro-batch by micro-batch."""
        for begin in range(0, n_prompt, n_ubatch):
            n = min(n_ubatch, n_prompt - begin)
            one = self.step(one, n, depth + begin + n, n_outputs=int(begin + n == n_prompt))
        return replace(
            one,
            round_trips=one.round_trips + NEW_SHAPE_TRIPS,
            up_bytes=one.up_bytes + GRAPH_PER_LAYER * self.n_layer,
        )


def over_network(speed: SpeedPrediction, network: NetworkTime) -> SpeedPrediction:
    """The speed with the time of the network added to that of the devices."""
    return replace(
        speed,
        decode=speed.decode and _slowed(speed.decode, network.token_s),
        prefill=speed.prefill and _slowed(speed.prefill, network.prompt_s / network.n_prompt),
    )


def _slowed(figure: PredictedSpeed, seconds: float) -> PredictedSpeed:
    """The figure with `seconds` more for each token."""
    value, low, high = (1 / (1 / v + seconds) for v in (figure.value, figure.low, figure.high))
    basis = figure.basis + Basis(network_s=seconds)
    return replace(figure, value=value, low=low, high=high, basis=basis)
