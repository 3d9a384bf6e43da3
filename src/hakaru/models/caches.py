"""What every layer keeps between tokens: keys and values, or a state that does not grow.

The KV cache is a property of layers, not of the model: heads differ by layer, most layers of some
models see only a window, some layers read another layer's cache, MLA keeps one compressed row, and
recurrent layers keep a state instead. A calculator that leaves one of these out is wrong by a
factor of 2 to 80.

This file is the arithmetic; the record of an architecture says what its layers keep
(`architectures.record.Caches`). All records are compared with llama.cpp's dry run.

Sources: llama.cpp, src/llama-model.cpp (create_memory), src/llama-hparams.cpp (n_embd_r, n_embd_s,
has_kv) and src/models/*.cpp (load_arch_hparams).
"""

from collections.abc import Sequence
from functools import cache
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from hakaru.formats.metadata import Metadata
from hakaru.models.architectures import architecture
from hakaru.models.architectures.record import Caches, Window

GLM_5_2_CONTEXT: Final = 2**20  # llama.cpp, src/models/glm-dsa.cpp


class LayerCache(Struct, frozen=True, kw_only=True):
    """What one layer keeps."""

    k: int = 0  # elements of the keys of one cell; 0: the layer keeps no keys
    v: int = 0  # elements of the values of one cell
    n_embd_head_k: int = 0  # elements of one head's keys
    n_embd_head_v: int = 0  # elements of one head's values
    indexer: int = 0  # elements of the indexer's key of one cell; 0: the layer has no indexer
    window: int | None = None  # tokens; None: every token is kept
    state: int = 0  # F32 elements of a recurrent state, per conversation
    copied_whole: bool = False
    """The engine treats the model as one with windows, although no layer has a window, and copies
    every token into context checkpoints.
    """


def layer_caches(meta: Metadata, n_layer: int) -> tuple[LayerCache, ...] | None:
    """What each of the `n_layer` layers keeps; None for an architecture whose caches are not known.

    Draft layers (multi-token prediction) at the end keep nothing while the model itself runs.
    Raises ModelDamaged.
    """
    rule = architecture(meta.architecture).caches
    if rule is None:
        return None
    n_draft = meta.integer(meta.arch_key("nextn_predict_layers")) or 0
    windows = _windows(meta, rule.window, n_layer, n_draft)
    recurrent, attends = _kinds(meta, rule, n_layer)
    own_caches = _layers_with_own_cache(meta, rule, n_layer)
    state = _state_elements(meta, rule, n_layer) if any(recurrent) else 0
    states_window = (
        rule.window
        and rule.window.of_n_layer
        and meta.integer(meta.arch_key("attention.sliding_window"))
    )
    copied_whole = bool(states_window) and not any(windows)
    heads = meta.per_layer(meta.arch_key("attention.head_count"), n_layer)
    heads_kv = meta.per_layer(meta.arch_key("attention.head_count_kv"), n_layer) or heads

    indexed = _indexed(meta, rule, n_layer, n_draft)
    indexer = meta.integer(meta.arch_key("attention.indexer.key_length")) or 0

    @cache  # layers are of a few kinds
    def kind(
        n_kv: int | None, window: int | None, state: int, indexer: int, *, is_own: bool
    ) -> LayerCache:
        attention = (
            LayerCache(window=window) if n_kv is None else _attention(meta, heads, n_kv, window)
        )
        kept = attention if is_own else replace(attention, k=0, v=0)
        return replace(kept, state=state, indexer=indexer, copied_whole=copied_whole)

    caches = []
    for i in range(n_layer):
        draft = i >= n_layer - n_draft and rule.layers != "one part"
        n_kv = (heads_kv[i] if heads_kv else 0) if attends[i] and not draft else None
        kept_state = state if recurrent[i] and not draft else 0
        window = windows[i] if attends[i] else None
        own_indexer = indexer if indexed[i] else 0
        caches.append(kind(n_kv, window, kept_state, own_indexer, is_own=i < own_caches))
    return tuple(caches)


def full_attention(
    n_head_kv: Sequence[int], n_embd_head_k: int, n_embd_head_v: int
) -> tuple[LayerCache, ...]:
    """The caches of layers without a window; `n_head_kv` has the number of KV heads per layer."""
    return tuple(
        LayerCache(
            k=n * n_embd_head_k,
            v=n * n_embd_head_v,
            n_embd_head_k=n_embd_head_k,
            n_embd_head_v=n_embd_head_v,
        )
        for n in n_head_kv
    )


def _attention(meta: Metadata, heads: Sequence[int], n_kv: int, window: int | None) -> LayerCache:
    """Keys and values of one attention layer with `n_kv` KV heads. With MLA the cache holds one
    compressed row as keys and no values.
    """
    lengths = []
    for part in ("key", "value"):
        plain = meta.integer(meta.arch_key(f"attention.{part}_length"))
        length = plain if plain is not None else _head_length(meta, heads[0] if heads else 0)
        in_window = meta.integer(meta.arch_key(f"attention.{part}_length_swa")) if window else None
        lengths.append(length if in_window is None else in_window)
    k, v = lengths
    if meta.integer_if_any(meta.arch_key("attention.key_length_mla")):
        v = 0
    return LayerCache(k=n_kv * k, v=n_kv * v, n_embd_head_k=k, n_embd_head_v=v, window=window)


def _head_length(meta: Metadata, n_head: int) -> int:
    n_embd = meta.integer(meta.arch_key("embedding_length")) or 0
    return n_embd // n_head if n_head else 0


def _windows(meta: Metadata, rule: Window | None, n_layer: int, n_draft: int) -> list[int | None]:
    """The window of every layer in tokens; None for a layer that sees everything. A draft layer has
    one only if the file lists it among the layers with windows.
    """
    everything: list[int | None] = [None] * n_layer
    if rule is None:
        return everything  # llama.cpp does not read the window that a file may state
    stated = meta.integer(meta.arch_key("attention.sliding_window"))
    n_own = n_layer - n_draft
    window = stated if stated is not None else rule.default
    if not window or (rule.of_n_layer and n_own != rule.of_n_layer):
        return everything
    if rule.period is None:
        heads_kv = meta.per_layer(meta.arch_key("attention.head_count_kv"), n_layer)
        return [window if heads else None for heads in heads_kv]
    window = rule.forced or window
    key = meta.arch_key("attention.sliding_window_pattern")
    if (n_listed := meta.length(key)) is not None:
        n_listed = n_layer if n_listed >= n_layer else n_own
        sees_window = [bool(flag) for flag in meta.per_layer(key, n_listed)]
    else:
        period = meta.integer(key) if key in meta.values else rule.period
        full = 0 if rule.dense_first else (period or 0) - 1
        sees_window = [not period or i % period != full for i in range(n_own)]
    windows = [window if flag else None for flag in sees_window]
    return windows + [None] * (n_layer - len(windows))


def _kinds(meta: Metadata, rule: Caches, n_layer: int) -> tuple[list[bool], list[bool]]:
    """For every layer, whether it has a recurrent state; then for every layer, whether it has
    attention.
    """
    heads = meta.per_layer(meta.arch_key("attention.head_count"), n_layer)
    heads_kv = meta.per_layer(meta.arch_key("attention.head_count_kv"), n_layer) or heads
    all_, none = [True] * n_layer, [False] * n_layer
    match rule.layers:
        case "attention":
            return none, all_
        case "nothing":
            return none, none
        case "state":
            return all_, none
        case "attention and state":
            return all_, all_
        case "state without KV heads":
            return [not kv for kv in heads_kv], [bool(kv) for kv in heads_kv]
        case "one part":
            n_ff = meta.per_layer(meta.arch_key("feed_forward_length"), n_layer) or (0,) * n_layer
            layers = list(zip(heads_kv, n_ff, strict=True))
            recurrent = [not kv and not ff for kv, ff in layers]
            return recurrent, [bool(kv) and not ff for kv, ff in layers]
        case "state by interval":
            stated = meta.per_layer(meta.arch_key("attention.recurrent_layers"), n_layer)
            interval = meta.integer(meta.arch_key("full_attention_interval")) or 4
            recurrent = list(map(bool, stated)) or [(i + 1) % interval != 0 for i in range(n_layer)]
            return recurrent, [not has_state for has_state in recurrent]


def _indexed(meta: Metadata, rule: Caches, n_layer: int, n_draft: int) -> list[bool]:
    """Whether each layer keeps keys of an indexer of its own; the others see the cells that the
    last such layer chose. Files of GLM 5.2, which has a longer context than GLM 5, may not state
    which. Draft layers see everything.
    """
    if rule.indexed is None:
        return [False] * n_layer
    n_own = n_layer - n_draft
    stated = meta.per_layer(meta.arch_key("attention.indexer.types"), n_own)
    if rule.indexed == "all" or not stated:
        context = meta.integer(meta.arch_key("context_length")) or 0
        shares = rule.indexed == "stated" and context >= GLM_5_2_CONTEXT
        return [not shares or i < 2 or i % 4 == 2 for i in range(n_own)] + [False] * n_draft
    return [*map(bool, stated), *[False] * n_draft]


def _layers_with_own_cache(meta: Metadata, rule: Caches, n_layer: int) -> int:
    """How many layers, from the first on, have a cache of their own. All later layers read the
    cache of an earlier layer.
    """
    if rule.n_own is not None:
        return rule.n_own
    if rule.shares:
        return n_layer - (meta.integer(meta.arch_key("attention.shared_kv_layers")) or 0)
    return n_layer


def _state_elements(meta: Metadata, rule: Caches, n_layer: int) -> int:
    """F32 elements of one recurrent layer's state per conversation: the convolution's last inputs
    and the state itself.
    """
    heads = meta.per_layer(meta.arch_key("attention.head_count"), n_layer)
    n_head = heads[0] if heads else 0
    n_embd = meta.integer(meta.arch_key("embedding_length")) or 0
    if taps := meta.integer(meta.arch_key("shortconv.l_cache")):
        return n_embd * (taps - 1)
    d_conv = meta.integer(meta.arch_key("ssm.conv_kernel")) or 0
    if head := meta.integer(meta.arch_key("kda.head_dim")):
        return 3 * ((d_conv or 4) - 1) * n_head * head + head * head * n_head
    d_inner = meta.integer(meta.arch_key("ssm.inner_size")) or 0
    d_state = meta.integer(meta.arch_key("ssm.state_size")) or 0
    n_group = (meta.integer(meta.arch_key("ssm.group_count")) or 0) if rule.grouped else 0
    return max(0, d_conv - 1) * (d_inner + 2 * n_group * d_state) + d_state * d_inner
