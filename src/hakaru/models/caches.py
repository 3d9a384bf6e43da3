"""What every layer keeps between tokens: keys and values, or a state that does not grow.

The KV cache is a property of layers, not of the model: heads differ by layer, most layers of some
models see only a window, some layers read another layer's cache, MLA keeps one compressed row, and
recurrent layers keep a state instead. Each of these has made some calculator wrong by a factor of 2
to 80.

Sources: llama.cpp, src/llama-model.cpp (create_memory), src/llama-hparams.cpp (n_embd_r, n_embd_s,
has_kv) and src/models/*.cpp (load_arch_hparams). What an architecture keeps is said by its record
(`architectures.Caches`), compared with llama.cpp's dry run for all of them. This file is the
arithmetic.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from hakaru.formats.metadata import Metadata
from hakaru.models.architectures import architecture
from hakaru.models.architectures.record import Caches, Window


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerCache:
    """One layer: elements of K and of V per cell (0: none), heads and their lengths for the check
    of block sizes, the window in tokens (None: every token is kept) and the F32 elements of a
    recurrent state per conversation. `copied_whole`: the engine takes the model for one with
    windows although no layer has one, and copies every token into context checkpoints.
    """

    k: int = 0
    v: int = 0
    n_embd_head_k: int = 0
    n_embd_head_v: int = 0
    window: int | None = None
    state: int = 0
    copied_whole: bool = False


def layer_caches(meta: Metadata, n_layer: int) -> tuple[LayerCache, ...] | None:
    """What each of the `n_layer` layers keeps; None for an architecture that is not modelled.

    Draft (MTP) layers at the end keep nothing while the model itself runs. Raises ModelDamaged.
    """
    rule = architecture(meta.architecture).caches
    if rule is None:
        return None
    n_draft = meta.integer(meta.arch_key("nextn_predict_layers")) or 0
    windows = _windows(meta, rule.window, n_layer, n_draft)
    recurrent, attends = _kinds(meta, rule, n_layer)
    own_caches = _layers_with_own_cache(meta, rule, n_layer)
    state = _state_elements(meta, rule, n_layer) if any(recurrent) else 0
    stated = (
        rule.window
        and rule.window.of_n_layer
        and meta.integer(meta.arch_key("attention.sliding_window"))
    )
    caches = []
    for i in range(n_layer):
        draft = i >= n_layer - n_draft and rule.layers != "one part"
        kv = _attention(meta, n_layer, i, windows[i]) if attends[i] and not draft else LayerCache()
        if i >= own_caches:
            kv = replace(kv, k=0, v=0)
        caches.append(
            LayerCache(
                k=kv.k,
                v=kv.v,
                n_embd_head_k=kv.n_embd_head_k,
                n_embd_head_v=kv.n_embd_head_v,
                window=kv.window,
                state=state if recurrent[i] and not draft else 0,
                copied_whole=bool(stated) and not any(windows),
            )
        )
    return tuple(caches)


def full_attention(
    n_head_kv: Sequence[int], n_embd_head_k: int, n_embd_head_v: int
) -> tuple[LayerCache, ...]:
    """The caches of layers that all see everything, with so many KV heads each."""
    return tuple(
        LayerCache(
            k=n * n_embd_head_k,
            v=n * n_embd_head_v,
            n_embd_head_k=n_embd_head_k,
            n_embd_head_v=n_embd_head_v,
        )
        for n in n_head_kv
    )


def _attention(meta: Metadata, n_layer: int, layer: int, window: int | None) -> LayerCache:
    """K and V of one attention layer. With MLA the cache holds one compressed row and no V."""
    heads = meta.per_layer(meta.arch_key("attention.head_count"), n_layer)
    heads_kv = meta.per_layer(meta.arch_key("attention.head_count_kv"), n_layer) or heads
    lengths = []
    for part in ("key", "value"):
        plain = meta.integer(meta.arch_key(f"attention.{part}_length"))
        length = plain if plain is not None else _head_length(meta, heads[0] if heads else 0)
        in_window = meta.integer(meta.arch_key(f"attention.{part}_length_swa")) if window else None
        lengths.append(length if in_window is None else in_window)
    k, v = lengths
    if meta.integer_if_any(meta.arch_key("attention.key_length_mla")):
        v = 0
    n_kv = heads_kv[layer] if heads_kv else 0
    return LayerCache(k=n_kv * k, v=n_kv * v, n_embd_head_k=k, n_embd_head_v=v, window=window)


def _head_length(meta: Metadata, n_head: int) -> int:
    n_embd = meta.integer(meta.arch_key("embedding_length")) or 0
    return n_embd // n_head if n_head else 0


def _windows(meta: Metadata, rule: Window | None, n_layer: int, n_draft: int) -> list[int | None]:
    """The window of every layer in tokens, or None where it sees everything, as draft layers do."""
    everything: list[int | None] = [None] * n_layer
    if rule is None:
        return everything  # what the file says of windows is not read, be it -1
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
    if meta.length(key) is not None:
        sees_window = [bool(flag) for flag in meta.per_layer(key, n_own)]
    else:
        period = meta.integer(key) if key in meta.values else rule.period
        full = 0 if rule.dense_first else (period or 0) - 1
        sees_window = [not period or i % period != full for i in range(n_own)]
    return [window if flag else None for flag in sees_window] + [None] * n_draft


def _kinds(meta: Metadata, rule: Caches, n_layer: int) -> tuple[list[bool], list[bool]]:
    """Which layers have a recurrent state, and which have attention."""
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
            return [not kv and not ff for kv, ff in layers], [
                bool(kv) and not ff for kv, ff in layers
            ]
        case "state by interval":
            stated = meta.per_layer(meta.arch_key("attention.recurrent_layers"), n_layer)
            interval = meta.integer(meta.arch_key("full_attention_interval")) or 4
            recurrent = [bool(r) for r in stated] or [
                (i + 1) % interval != 0 for i in range(n_layer)
            ]
            return recurrent, [not r for r in recurrent]


def _layers_with_own_cache(meta: Metadata, rule: Caches, n_layer: int) -> int:
    """How many layers have a cache of their own; the layers above read the last ones'."""
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
