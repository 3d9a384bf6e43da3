"""What every layer keeps between tokens: keys and values, or a state that does not grow.

The KV cache is a property of layers, not of the model: heads differ by layer, most layers of some models see only a
window, some layers read another layer's cache, MLA keeps one compressed row, and recurrent layers keep a state instead.
Each of these has made some calculator wrong by a factor of 2 to 80.

Sources: llama.cpp, src/llama-model.cpp (create_memory), src/llama-hparams.cpp (n_embd_r, n_embd_s, has_kv) and
src/models/*.cpp (load_arch_hparams). Every architecture named here was compared with llama.cpp's dry run. Left out,
answered by the dry run: caches with an indexer (DeepSeek 3.2, GLM DSA), RWKV, encoder-decoders.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from hakaru.models.metadata import Metadata


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerCache:
    """One layer: elements of K and of V per cell (0: none), heads and their lengths for the check of block sizes, the
    window in tokens (None: every token is kept) and the F32 elements of a recurrent state per conversation. `copied_whole`: the
    engine takes the model for one with windows although no layer has one, and copies every token into context checkpoints.
    """

    k: int = 0
    v: int = 0
    n_embd_head_k: int = 0
    n_embd_head_v: int = 0
    window: int | None = None
    state: int = 0
    copied_whole: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Window:
    """How an architecture places its sliding windows where the file does not say: every `period`-th layer sees all."""

    period: int
    dense_first: bool = False
    default: int | None = None
    forced: int | None = None


WINDOWS: Final = {
    "afmoe": _Window(period=4),
    "cohere2": _Window(period=4),
    "cohere2moe": _Window(period=4, dense_first=True),
    "exaone-moe": _Window(period=4, default=128),
    "exaone4": _Window(period=4, default=4096),
    "gemma2": _Window(period=2, default=4096),
    "gemma3": _Window(period=6),
    "gemma3n": _Window(period=5),
    "gemma4": _Window(period=6),
    "gpt-oss": _Window(period=2),
    "laguna": _Window(period=4, dense_first=True),
    "llama4": _Window(period=4, default=8192, forced=8192),
    "mimo2": _Window(period=6),
    "olmo2": _Window(period=4),
}
EXAONE4_LAYERS_WITH_WINDOWS: Final = 64  # llama.cpp, src/models/exaone4.cpp: only the 32B model has them
GEMMA3N_OWN_CACHES: Final = 20  # llama.cpp, src/models/gemma3n.cpp: the layers above reuse the last of these

PLAIN: Final = frozenset({
    "apertus", "command-r", "deci", "deepseek2", "ernie4_5", "ernie4_5-moe", "exaone", "gemma", "glm4", "glm4moe", "granite",
    "granitemoe", "hunyuan-dense", "hunyuan-moe", "hy_v3", "llama", "minimax-m2", "mistral3", "mistral4", "olmoe", "phi3",
    "phimoe", "qwen2", "qwen2moe", "qwen2vl", "qwen3", "qwen3moe", "qwen3vl", "qwen3vlmoe", "seed_oss", "smollm3",
})  # fmt: skip
"""Attention over everything in every layer that has KV heads."""

NO_CACHE: Final = frozenset({
    "bert", "gemma-embedding", "modern-bert", "nomic-bert",
})  # fmt: skip
"""Encoders and diffusion models: every text is read at once."""

RECURRENT: Final = frozenset({"mamba", "mamba2"})
WITHOUT_KV_HEADS: Final = frozenset({"granitehybrid", "kimi-linear", "lfm2", "lfm2moe", "plamo2"})
"""Hybrids whose layers without KV heads are recurrent."""
BY_INTERVAL: Final = frozenset({"qwen35", "qwen35moe", "qwen3next"})
"""Hybrids that state which layers are recurrent, or every how many layers one is not."""
BOTH: Final = frozenset({"falcon-h1"})
"""Every layer has attention and a state."""
WITHOUT_FEED_FORWARD: Final = frozenset({"nemotron_h", "nemotron_h_moe"})
"""A layer is attention, a state or a feed-forward block, never two of them."""

MODELLED: Final = PLAIN | NO_CACHE | RECURRENT | WITHOUT_KV_HEADS | BY_INTERVAL | BOTH | WITHOUT_FEED_FORWARD | set(WINDOWS)


def layer_caches(meta: Metadata, n_layer: int) -> tuple[LayerCache, ...] | None:
    """What each of the `n_layer` layers keeps; None for an architecture that is not modelled.

    Draft (MTP) layers at the end keep nothing while the model itself runs. Raises ModelDamaged.
    """
    if meta.architecture not in MODELLED:
        return None
    n_draft = meta.integer(meta.own("nextn_predict_layers")) or 0
    windows = _windows(meta, n_layer, n_draft)
    recurrent, attends = _kinds(meta, n_layer)
    own_caches = _layers_with_own_cache(meta, n_layer)
    state = _state_elements(meta, n_layer) if any(recurrent) else 0
    copied = meta.architecture == "exaone4" and bool(meta.integer(meta.own("attention.sliding_window"))) and not any(windows)
    caches = []
    for i in range(n_layer):
        draft = i >= n_layer - n_draft and meta.architecture not in WITHOUT_FEED_FORWARD
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
                copied_whole=copied,
            )
        )
    return tuple(caches)


def full_attention(n_head_kv: Sequence[int], n_embd_head_k: int, n_embd_head_v: int) -> tuple[LayerCache, ...]:
    """The caches of layers that all see everything, with so many KV heads each."""
    return tuple(
        LayerCache(k=n * n_embd_head_k, v=n * n_embd_head_v, n_embd_head_k=n_embd_head_k, n_embd_head_v=n_embd_head_v)
        for n in n_head_kv
    )


def _attention(meta: Metadata, n_layer: int, layer: int, window: int | None) -> LayerCache:
    """K and V of one attention layer. With MLA the cache holds one compressed row and no V."""
    heads = meta.per_layer(meta.own("attention.head_count"), n_layer)
    heads_kv = meta.per_layer(meta.own("attention.head_count_kv"), n_layer) or heads
    lengths = []
    for part in ("key", "value"):
        plain = meta.integer(meta.own(f"attention.{part}_length"))
        length = plain if plain is not None else _head_length(meta, heads[0] if heads else 0)
        in_window = meta.integer(meta.own(f"attention.{part}_length_swa")) if window else None
        lengths.append(length if in_window is None else in_window)
    k, v = lengths
    if meta.integer_if_any(meta.own("attention.key_length_mla")):
        v = 0
    n_kv = heads_kv[layer] if heads_kv else 0
    return LayerCache(k=n_kv * k, v=n_kv * v, n_embd_head_k=k, n_embd_head_v=v, window=window)


def _head_length(meta: Metadata, n_head: int) -> int:
    n_embd = meta.integer(meta.own("embedding_length")) or 0
    return n_embd // n_head if n_head else 0


def _windows(meta: Metadata, n_layer: int, n_draft: int) -> list[int | None]:
    """The window of every layer in tokens, or None where it sees everything, as draft layers do."""
    rule = WINDOWS.get(meta.architecture)
    if rule is None and meta.architecture != "lfm2":
        return [None] * n_layer  # what the file says of windows is not read, be it -1
    stated = meta.integer(meta.own("attention.sliding_window"))
    if meta.architecture == "lfm2" and stated:
        return [stated if heads else None for heads in meta.per_layer(meta.own("attention.head_count_kv"), n_layer)]
    n_own = n_layer - n_draft
    if rule is None or (meta.architecture == "exaone4" and n_own != EXAONE4_LAYERS_WITH_WINDOWS):
        return [None] * n_layer
    window = stated if stated is not None else rule.default
    if not window:
        return [None] * n_layer
    window = rule.forced or window
    key = meta.own("attention.sliding_window_pattern")
    if meta.length(key) is not None:
        sees_window = [bool(flag) for flag in meta.per_layer(key, n_own)]
    else:
        period = meta.integer(key) if key in meta.values else rule.period
        full = 0 if rule.dense_first else (period or 0) - 1
        sees_window = [not period or i % period != full for i in range(n_own)]
    return [window if flag else None for flag in sees_window] + [None] * n_draft


def _kinds(meta: Metadata, n_layer: int) -> tuple[list[bool], list[bool]]:
    """Which layers have a recurrent state, and which have attention."""
    name = meta.architecture
    heads_kv = meta.per_layer(meta.own("attention.head_count_kv"), n_layer) or meta.per_layer(
        meta.own("attention.head_count"), n_layer
    )
    if name in NO_CACHE:
        return [False] * n_layer, [False] * n_layer
    if name in RECURRENT:
        return [True] * n_layer, [False] * n_layer
    if name in BOTH:
        return [True] * n_layer, [True] * n_layer
    if name in WITHOUT_FEED_FORWARD:
        n_ff = meta.per_layer(meta.own("feed_forward_length"), n_layer) or (0,) * n_layer
        layers = list(zip(heads_kv, n_ff, strict=True))
        return [not kv and not ff for kv, ff in layers], [bool(kv) and not ff for kv, ff in layers]
    if name in BY_INTERVAL:
        stated = meta.per_layer(meta.own("attention.recurrent_layers"), n_layer)
        interval = meta.integer(meta.own("full_attention_interval")) or 4
        recurrent = [bool(r) for r in stated] or [(i + 1) % interval != 0 for i in range(n_layer)]
        return recurrent, [not r for r in recurrent]
    if name in WITHOUT_KV_HEADS:
        return [not kv for kv in heads_kv], [bool(kv) for kv in heads_kv]
    return [False] * n_layer, [True] * n_layer


def _layers_with_own_cache(meta: Metadata, n_layer: int) -> int:
    """How many layers have a cache of their own; the layers above read the last ones'."""
    if meta.architecture == "gemma3n":
        return GEMMA3N_OWN_CACHES
    if meta.architecture == "gemma4":
        return n_layer - (meta.integer(meta.own("attention.shared_kv_layers")) or 0)
    return n_layer


def _state_elements(meta: Metadata, n_layer: int) -> int:
    """F32 elements of one recurrent layer's state per conversation: the convolution's last inputs and the state itself."""
    heads = meta.per_layer(meta.own("attention.head_count"), n_layer)
    n_head = heads[0] if heads else 0
    n_embd = meta.integer(meta.own("embedding_length")) or 0
    if taps := meta.integer(meta.own("shortconv.l_cache")):
        return n_embd * (taps - 1)
    d_conv = meta.integer(meta.own("ssm.conv_kernel")) or 0
    if head := meta.integer(meta.own("kda.head_dim")):
        return 3 * ((d_conv or 4) - 1) * n_head * head + head * head * n_head
    d_inner = meta.integer(meta.own("ssm.inner_size")) or 0
    d_state = meta.integer(meta.own("ssm.state_size")) or 0
    n_group = 0 if meta.architecture == "mamba" else meta.integer(meta.own("ssm.group_count")) or 0  # Mamba 1 knows no groups
    return max(0, d_conv - 1) * (d_inner + 2 * n_group * d_state) + d_state * d_inner
