"""A model as llama.cpp's quantizer sees it: the tensors that are quantized, their order and roles.

Nothing here depends on the preset, so a roster is made once per model and serves every preset. The
quantizer does not go in the order of the file: it sorts by layer, then by name, and the running
numbers that its rules ask for (the third attn_v, the seventh ffn_down) count in that order. A split
model's parts together are one model.

Left out: pruned layers, manual overrides per tensor, and the projectors of vision models as files
of their own. The number of layers is the header's; nanbeige, which repeats its layers, and
graniteswitch, which adds one, have their own. Source: llama.cpp, src/llama-quant.cpp
(tensor_allows_quantization, tensor_get_category, init_quantize_state_counters),
src/llama-model-loader.h (weight_name_comparer), src/models/*.cpp (what counts as a 70B).
"""

import re
from collections.abc import Iterable
from enum import IntEnum, auto
from operator import itemgetter
from typing import Final

from msgspec import Struct

from hakaru.formats.gguf import Tensor
from hakaru.formats.metadata import Metadata
from hakaru.models.architectures import architecture
from hakaru.models.architectures.record import Quantizer


class Role(IntEnum):
    """The roles of tensors that the quantizer's rules tell apart."""

    OUTPUT = auto()
    TOKEN_EMBD = auto()
    ATTN_Q = auto()
    ATTN_K = auto()
    ATTN_V = auto()  # also the fused ones that hold V: attn_qkv, attn_kv_b
    ATTN_OUTPUT = auto()
    FFN_UP = auto()
    FFN_GATE = auto()
    FFN_DOWN = auto()
    AT_LEAST_Q8 = auto()
    OTHER = auto()


FFN: Final = frozenset({Role.FFN_UP, Role.FFN_GATE, Role.FFN_DOWN})

_ROLE_BY_NAME: Final = {
    "output.weight": Role.OUTPUT,
    "token_embd.weight": Role.TOKEN_EMBD,
    "per_layer_token_embd.weight": Role.TOKEN_EMBD,
}
_ROLE_BY_PART: Final = (
    ("attn_qkv.weight", Role.ATTN_V), ("attn_kv_b.weight", Role.ATTN_V),
    ("attn_v.weight", Role.ATTN_V), ("attn_k.weight", Role.ATTN_K), ("attn_q.weight", Role.ATTN_Q),
    ("attn_output.weight", Role.ATTN_OUTPUT), ("ffn_up", Role.FFN_UP), ("ffn_gate", Role.FFN_GATE),
    ("ffn_down", Role.FFN_DOWN),
)  # fmt: skip
"""Roles by a part of the name; the first part that matches counts."""

_KEPT_NAMES: Final = frozenset({"position_embd.weight", "token_types.weight"})
_KEPT_PARTS: Final = (
    "_norm.weight", "ffn_gate_inp.weight", "ffn_gate_tid2eid.weight",  # norms, routers
    "altup", "laurel", "per_layer_model_proj",  # gemma3n, gemma4
    "ssm_conv1d", "shortconv.conv.weight", "indexer.k_proj.weight", "indexer.q_proj.weight",
    "attn_rel_b.weight", *(f"time_mix_{part}.weight" for part in (
        "first", "w0", "w1", "w2", "v0", "v1", "v2", "a0", "a1", "a2", "g1", "g2", "decay_w1",
        "decay_w2", "lerp_fused",
    )),  # rwkv
    ".position_embd", "sam.pos_embd", "sam.neck.", "sam.net_", ".rel_pos", ".patch_embd",
    ".patch_merger",  # vision
    "a.rvq.codebook", "mm.a.code_embd",  # audio
)  # fmt: skip
"""Tensors with any of these parts in their name keep their type."""
_LAYER: Final = re.compile(r"blk\.([0-9]+)")


class Facts(Struct, frozen=True, kw_only=True):
    """What the quantizer reads of a model beside its tensors. The numbers of heads are the first
    layer's.
    """

    architecture: str
    n_layer: int
    n_expert: int
    n_head: int
    n_head_kv: int

    @property
    def rules(self) -> Quantizer:
        """What the quantizer does differently for the architecture."""
        return architecture(self.architecture).quantizer

    @property
    def n_gqa(self) -> int:
        """How many query heads share one KV head; 0 where the first layer has no attention."""
        return self.n_head // self.n_head_kv if self.n_head_kv else 0

    @property
    def is_70b(self) -> bool:
        """Whether llama.cpp calls the model's size "70B", which has a rule of its own: decided by
        the number of layers.
        """
        if self.rules.n_layer_of_70b != self.n_layer:
            return False
        shares_heads = self.n_head != self.n_head_kv and self.n_expert != 8
        return shares_heads or not self.rules.of_70b_shares_heads


def quantizer_facts(meta: Metadata) -> Facts:
    """The facts from a header's keys. Raises ModelDamaged."""
    n_layer = meta.need(meta.arch_key("block_count"), high=2**14)
    heads = meta.per_layer(meta.arch_key("attention.head_count"), n_layer) or (0,)
    heads_kv = meta.per_layer(meta.arch_key("attention.head_count_kv"), n_layer) or heads
    rules = architecture(meta.architecture).quantizer
    if rules.loops:
        n_layer *= meta.integer(meta.arch_key("num_loops")) or 1
    return Facts(
        architecture=meta.architecture,
        n_layer=n_layer + rules.n_layer_more,
        n_expert=meta.integer(meta.arch_key("expert_count")) or 0,
        n_head=heads[0],
        n_head_kv=heads_kv[0],
    )


class Group(Struct, frozen=True, kw_only=True):
    """The tensors of one role and shape. The three tuples have one entry for each tensor."""

    role: Role
    shape: tuple[int, ...]
    names: tuple[str, ...]
    indices: tuple[int, ...]  # the running number in the role, in the quantizer's order
    layers: tuple[int, ...]  # the layer in the name; -1: none

    @property
    def row(self) -> int:
        """Weights in a row."""
        return self.shape[0]

    @property
    def is_stack(self) -> bool:
        """True if every tensor is several matrices, as experts are."""
        return len(self.shape) > 2 and self.shape[2] > 1


class Roster(Struct, frozen=True, kw_only=True):
    """The tensors of one model, sorted by what the quantizer does with them."""

    facts: Facts
    groups: tuple[Group, ...]  # that are quantized
    kept: tuple[Tensor, ...]  # that keep their type
    n_attn_v: int  # tensors of the role ATTN_V
    is_tied: bool  # the embedding serves as the output matrix


def roster(facts: Facts, tensors: Iterable[Tensor]) -> Roster:
    """The roster of a model; `tensors` may have any order, since the quantizer sorts them."""
    roles: dict[str, Role | None] = {}  # by stem, a dozen per model; None: kept
    n_seen = dict.fromkeys(Role, 0)
    members: dict[tuple[Role, tuple[int, ...]], list[tuple[str, int, int]]] = {}
    kept = []
    n_attn_v, is_tied = 0, True
    for layer, name, stem, tensor in sorted(
        (_sorted_name(t) for t in tensors), key=itemgetter(0, 1)
    ):
        if stem not in roles:
            roles[stem] = None if _is_kept(stem, facts.rules) else _role(stem, facts.rules)
        role = roles[stem]
        n_attn_v += role is Role.ATTN_V
        is_tied &= name != "output.weight"
        if role is None or _n_dims(tensor.shape) < 2:
            kept.append(tensor)
        else:
            members.setdefault((role, tensor.shape), []).append((name, n_seen[role], layer))
            n_seen[role] += 1
    return Roster(
        facts=facts,
        groups=tuple(_group(role, shape, entries) for (role, shape), entries in members.items()),
        kept=tuple(kept),
        n_attn_v=n_attn_v,
        is_tied=is_tied,
    )


def _group(role: Role, shape: tuple[int, ...], entries: list[tuple[str, int, int]]) -> Group:
    names, indices, layers = zip(*entries, strict=True)
    return Group(role=role, shape=shape, names=names, indices=indices, layers=layers)


def _sorted_name(tensor: Tensor) -> tuple[int, str, str, Tensor]:
    """Layer, name, and stem (the name behind the layer); -1 outside the layers."""
    match = _LAYER.match(tensor.name)
    return (
        (int(match[1]), tensor.name, tensor.name[match.end() :], tensor)
        if match
        else (-1, tensor.name, tensor.name, tensor)
    )


def _is_kept(stem: str, rules: Quantizer) -> bool:
    if not stem.endswith("weight") or stem in _KEPT_NAMES:
        return True
    return any(part in stem for part in (*_KEPT_PARTS, *rules.kept))


def _role(stem: str, rules: Quantizer) -> Role:
    if any(part in stem for part in rules.at_least_q8):
        return Role.AT_LEAST_Q8
    if stem in _ROLE_BY_NAME:
        return _ROLE_BY_NAME[stem]
    return next((role for part, role in _ROLE_BY_PART if part in stem), Role.OTHER)


def _n_dims(shape: tuple[int, ...]) -> int:
    """The number of dimensions as ggml counts them: without ones at the end."""
    n_dims = len(shape)
    while n_dims > 1 and shape[n_dims - 1] == 1:
        n_dims -= 1
    return n_dims
