"""The numbers that decide a model's memory, with llama.cpp's names."""

from functools import partial

from msgspec import Struct

from hakaru.errors import ModelDamaged
from hakaru.formats.metadata import Metadata
from hakaru.models.architectures import ARCHITECTURES, Architecture, architecture
from hakaru.models.architectures.parts.sizes import MAX_LAYERS, MAX_WIDTH
from hakaru.models.caches import LayerCache, layer_caches

_READ_BY_SOME = frozenset(key for record in ARCHITECTURES.values() for key in record.reads)
"""Beginnings of keys that only some architectures read. In another architecture their value means
nothing: it may be -1.
"""
_OF_EXPERTS = ("expert_", "leading_dense_block_count")


class Shape(Struct, frozen=True, kw_only=True):
    """Hyperparameters of a language model. A value that the file does not state is None, or 0 for a
    block that the model does not have.
    """

    architecture: str
    n_layer: int  # with draft layers
    n_embd: int
    n_ff: int | None  # the largest of all layers
    n_head: int  # the largest of all layers
    n_head_kv: tuple[int, ...]  # of each layer
    n_embd_head_k: int
    n_embd_head_v: int
    n_vocab: int
    caches: tuple[LayerCache, ...] | None  # of each layer; None: not known
    n_ctx_train: int | None = None
    n_expert: int = 0
    n_expert_used: int = 0
    n_ff_exp: int = 0
    n_ff_shexp: int = 0
    n_embd_per_layer: int = 0
    n_lora_q: int = 0
    n_lora_kv: int = 0
    n_embd_head_k_mla: int = 0
    n_embd_head_v_mla: int = 0
    n_embd_head_kda: int = 0
    n_indexer_head: int = 0
    n_embd_head_indexer: int = 0
    n_indexer_top_k: int = 0  # cells that a token sees, of those that an indexer ranks
    ssm_d_conv: int = 0
    ssm_d_inner: int = 0
    ssm_d_state: int = 0
    ssm_dt_rank: int = 0
    ssm_n_group: int = 0
    ssm_dt_b_c_rms: bool = False
    n_shortconv_l_cache: int = 0
    n_heads: tuple[int, ...] = ()  # of each layer
    n_ffs: tuple[int, ...] = ()  # of each layer
    n_rot: int = 0  # elements of a head that positions rotate
    n_layer_nextn: int = 0  # draft layers, for multi-token prediction
    n_layer_dense_lead: int = 0  # the first layers, which have no experts
    n_moe_layer_step: int = 1  # every n-th layer has experts
    n_deepstack_layers: int = 0  # the first layers, to which images add rows
    moe_latent_size: int = 0
    expert_gating_func: int = 0
    expert_weights_norm: bool = False

    def __hash__(self) -> int:
        """By the few numbers that tell models apart: a shape is looked up again and again."""
        return hash((self.architecture, self.n_layer, self.n_embd, self.n_ff, self.n_vocab))

    @property
    def record(self) -> Architecture:
        """What hakaru knows of the architecture."""
        return architecture(self.architecture)

    @property
    def part_of_experts(self) -> float:
        """The part of its experts that each token uses; 1 for a model without experts."""
        return self.n_expert_used / self.n_expert if self.n_expert else 1.0


def shape_of(meta: Metadata, *, n_vocab: int) -> Shape:
    """The shape that the keys of a header state. Raises ModelDamaged for numbers that make no
    sense.
    """
    n_layer = meta.need(meta.arch_key("block_count"), high=MAX_LAYERS)
    n_embd = meta.need(meta.arch_key("embedding_length"), high=MAX_WIDTH)
    heads = meta.per_layer(meta.arch_key("attention.head_count"), n_layer)
    n_head = max(heads, default=0)
    head_length = n_embd // n_head if n_head else 0

    number, or_else = partial(_number, meta, n_layer), partial(_or_else, meta)
    return Shape(
        architecture=meta.architecture,
        n_layer=n_layer,
        n_embd=n_embd,
        n_ff=max(meta.per_layer(meta.arch_key("feed_forward_length"), n_layer), default=None),
        n_head=n_head,
        n_head_kv=meta.per_layer(meta.arch_key("attention.head_count_kv"), n_layer)
        or heads
        or (0,) * n_layer,
        n_embd_head_k=or_else("attention.key_length", head_length),
        n_embd_head_v=or_else("attention.value_length", head_length),
        n_vocab=n_vocab,
        caches=layer_caches(meta, n_layer),
        n_ctx_train=_context(meta),
        n_expert=number("expert_count"),
        n_expert_used=number("expert_used_count"),
        n_ff_exp=number("expert_feed_forward_length"),
        n_ff_shexp=number("expert_shared_feed_forward_length")
        or number("expert_shared_count") * number("expert_feed_forward_length"),
        n_embd_per_layer=number("embedding_length_per_layer_input"),
        n_lora_q=number("attention.q_lora_rank"),
        n_lora_kv=number("attention.kv_lora_rank"),
        n_embd_head_k_mla=number("attention.key_length_mla"),
        n_embd_head_v_mla=number("attention.value_length_mla"),
        n_embd_head_kda=number("kda.head_dim"),
        n_indexer_head=number("attention.indexer.head_count"),
        n_embd_head_indexer=number("attention.indexer.key_length"),
        n_indexer_top_k=number("attention.indexer.top_k"),
        ssm_d_conv=number("ssm.conv_kernel"),
        ssm_d_inner=number("ssm.inner_size"),
        ssm_d_state=number("ssm.state_size"),
        ssm_dt_rank=number("ssm.time_step_rank"),
        ssm_n_group=number("ssm.group_count"),
        ssm_dt_b_c_rms=bool(number("ssm.dt_b_c_rms")),
        n_shortconv_l_cache=number("shortconv.l_cache"),
        n_heads=heads,
        n_ffs=meta.per_layer(meta.arch_key("feed_forward_length"), n_layer),
        n_rot=or_else("rope.dimension_count", or_else("attention.key_length", head_length)),
        n_layer_nextn=number("nextn_predict_layers"),
        n_layer_dense_lead=number("leading_dense_block_count"),
        n_moe_layer_step=number("interleave_moe_layer_step") or 1,
        n_deepstack_layers=number("n_deepstack_layers"),
        moe_latent_size=number("moe_latent_size"),
        expert_gating_func=number("expert_gating_func"),
        expert_weights_norm=bool(number("expert_weights_norm")),
    )


def _number(meta: Metadata, n_layer: int, key: str) -> int:
    """The largest of a number's values by layer; 0 where the header has none. Raises ModelDamaged
    for one that makes no sense, if the architecture reads it.
    """
    try:
        return max(meta.per_layer(meta.arch_key(key), n_layer), default=0)
    except ModelDamaged:
        if _is_read(meta, key):
            raise
        return 0


def _or_else(meta: Metadata, key: str, default: int) -> int:
    value = meta.integer(meta.arch_key(key))
    return default if value is None else value


def _context(meta: Metadata) -> int | None:
    """The context that the model was trained for; None also for the largest 32-bit number, by which
    some converters mean "no limit".
    """
    key = meta.arch_key("context_length")
    return None if meta.values.get(key) in {2**31 - 1, 2**32 - 1} else meta.integer(key)


def _is_read(meta: Metadata, key: str) -> bool:
    """True if llama.cpp reads the key for this architecture."""
    record = architecture(meta.architecture)
    if key.startswith("ssm."):
        return record.has_states
    if key.startswith(tuple(_READ_BY_SOME)):
        return key.startswith(record.reads)
    if key.startswith(_OF_EXPERTS) and key not in {"expert_count", "expert_used_count"}:
        return bool(meta.integer(meta.arch_key("expert_count")))
    return True
