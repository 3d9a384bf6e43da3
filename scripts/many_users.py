"""Write what 10,000 users need into docs/many-users.md and its Japanese; with --check only compare.

Every figure comes from `hakaru.vllm`, the same arithmetic as `hakaru fit --engine vllm`.
"""

from typing import Final

from between import write_between
from rooms import SOURCE

from hakaru.clusters.cluster import Cluster, Link, Node
from hakaru.hardware.named_machine import parse_hardware
from hakaru.models.model import read_language_model
from hakaru.models.sources.find import find_model
from hakaru.units import format_bytes
from hakaru.vllm.kv_groups import kv_groups, kv_layers
from hakaru.vllm.parallel import Parallel
from hakaru.vllm.proposal import Placed, n_devices, propose
from hakaru.vllm.rank_weights import weights_by_stage
from hakaru.vllm.served_type import SERVED_TYPES

DOCS: Final = SOURCE.parent.parent / "docs"
USERS: Final = 10_000
N_CTX: Final = 8_192
NODE: Final = "8x H100 SXM"
MODELS: Final = {
    "qwen3-8b": "bf16",
    "qwen3-30b-a3b": "bf16",
    "llama-3.3-70b-instruct": "bf16",
    "gpt-oss-120b": "mxfp4",
    "deepseek-v3-0324": "fp8",
}
"""Each in the type of its checkpoint."""
TERMS: Final = {
    "type": "型",
    "weights of the model": "モデルの重み",
    "KV cache of a token, all layers": "1 トークンの KV キャッシュ（全層）",
    "KV cache of a full user": "使い切った 1 人分の KV キャッシュ",
    "KV cache of all users": "全員分の KV キャッシュ",
    "cards of a replica": "レプリカ 1 個のカード",
    "weights on a card": "カード 1 枚の重み",
    "activations (assumed)": "アクティベーション（仮定）",
    "CUDA graphs (assumed)": "CUDA グラフ（仮定）",
    "vLLM's part of a card": "カード 1 枚での vLLM の取り分",
    "outside of it (assumed)": "その外（仮定）",
    "KV pool of a card": "カード 1 枚の KV プール",
    "tokens in the pool of a replica": "レプリカ 1 個のプールのトークン",
    "users of a replica": "レプリカ 1 個のユーザー",
    "replicas": "レプリカ",
    "cards": "カード",
    "machines": "マシン",
    "least time of a token, contexts full": "1 トークンの最短時間（使い切ったとき）",
}
"""Of the table's rows, English and Japanese."""


def main() -> None:
    """Write or compare."""
    columns = [column(name, type_name) for name, type_name in MODELS.items()]
    for page, terms in (("many-users.md", TERMS.keys()), ("many-users.ja.md", TERMS.values())):
        rows = [[term, *values] for term, *values in zip(terms, *columns, strict=True)]
        lines = [["", *MODELS], ["---"] + ["---:"] * len(MODELS), *rows]
        table = "".join(f"| {' | '.join(line)} |\n" for line in lines)
        write_between(DOCS / page, "many_users", table)


def column(name: str, type_name: str) -> list[str]:
    """Every term of one model."""
    model = read_language_model(find_model(name).path)
    served, node = SERVED_TYPES[type_name], parse_hardware(NODE)
    nodes = tuple(Node(name=f"n{i}", address=f"n{i}", hardware=node) for i in range(1_000))
    cluster = Cluster(nodes=nodes, network=Link(gbit_per_s=400, ping_ms=0.01), links={})
    proposal = propose(model, served, cluster, N_CTX, USERS)
    (placed,) = proposal.placed
    replica, kept = placed.option.replica, tuple(kv_layers(model.shape, 1, on_cards=True))
    per_token = sum(layer.n_bytes for layer in kept if layer.keeps != "state")
    undivided = kv_groups(model.shape, 1, on_cards=True)
    per_user = undivided.block_bytes(range(model.shape.n_layer)) * replica.blocks_each
    rank = min(replica.ranks, key=lambda rank: rank.pool_bytes // rank.block_bytes)
    (whole,) = weights_by_stage(model, served, Parallel())
    sizes = [whole, per_token, per_user, USERS * per_user]
    on_card = [
        rank.weights_bytes, rank.activation_bytes, rank.graphs_bytes, rank.budget_bytes,
        rank.outside_bytes, rank.pool_bytes,
    ]  # fmt: skip
    counts = [
        replica.kv_tokens, replica.users, placed.n_replicas, n_devices((placed,)), machines(placed),
    ]  # fmt: skip
    time_ms = placed.option.time.total_ms
    assert time_ms is not None
    return [
        type_name,
        *map(format_bytes, sizes),
        str(replica.parallel.n_ranks),
        *map(format_bytes, on_card),
        *(f"{n:,}" for n in counts),
        f"{time_ms:.0f} ms",
    ]


def machines(placed: Placed) -> int:
    """Machines that the replicas fill."""
    return -(-placed.n_replicas // placed.option.per_node) * placed.option.n_nodes


if __name__ == "__main__":
    main()
