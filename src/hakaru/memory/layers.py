"""What distinguishes one layer's graph from another's, read from a model's numbers.

Source: llama.cpp, src/models/*.cpp.
"""

from functools import lru_cache

from hakaru.memory.blocks import Layer
from hakaru.models.architectures.parts.blueprint import Blueprint
from hakaru.models.shape import Shape


def blueprint_of(shape: Shape) -> Blueprint:
    """The blueprint of a model whose graph is known (see `compute.is_known`)."""
    blueprint = shape.record.graph
    assert blueprint is not None
    return blueprint


@lru_cache(maxsize=256)  # the same for every part of a model and at every setting
def layers_of(shape: Shape) -> tuple[Layer, ...]:
    """What distinguishes the graph of each layer from that of another; draft layers are left
    out.
    """
    caches = shape.caches or ()
    without_cache = shape.record.caches is not None and shape.record.caches.layers == "nothing"
    blueprint, layers = blueprint_of(shape), list[Layer]()
    n = shape.n_layer - shape.n_layer_nextn
    for i in range(n):
        cache = caches[i]
        n_ff = shape.n_ffs[i] if shape.n_ffs else shape.n_ff or 0
        n_head_kv = shape.n_head_kv[i]
        layers.append(
            Layer(
                n_head=shape.n_heads[i] if shape.n_heads else shape.n_head,
                n_head_kv=n_head_kv,
                n_embd_head_k=cache.n_embd_head_k or shape.n_embd_head_k,
                n_embd_head_v=cache.n_embd_head_v or shape.n_embd_head_v,
                n_ff=n_ff,
                windowed=cache.window is not None,
                recurrent=cache.state > 0,
                attends=cache.n_embd_head_k > 0 or without_cache,
                sparse=i < blueprint.n_sparse,
                shared_values=blueprint.shares_values
                and not shape.n_embd_per_layer
                and cache.window is None,
                own_kv=cache.k > 0,
                indexes=cache.indexer > 0,
                number=i if shape.n_indexer_top_k else 0,
                experts=_has_experts(shape, i, n_ff),
                rope=_has_rope(shape, i, windowed=cache.window is not None),
                first=i == 0 and blueprint.first_differs,
                last=i == n - 1 and blueprint.trimmed,
            )
        )
    layers = _joined(layers)
    hands = [receives_extra_input(shape, i, layer) for i, layer in enumerate(layers)]
    return tuple(
        layer._replace(hands=True) if next_receives else layer
        for layer, next_receives in zip(layers, [*hands[1:], False], strict=True)
    )


def _joined(layers: list[Layer]) -> list[Layer]:
    """The layers, where every layer of a dense feed-forward part alone has joined the layer before
    it (NVIDIA's Nemotron H).
    """
    joined: list[Layer] = []
    for layer in layers:
        if joined and not (layer.attends or layer.recurrent or layer.experts):
            then = *joined[-1].then, layer.n_ff
            joined[-1] = joined[-1]._replace(then=then, last=layer.last)
        else:
            joined.append(layer)
    return joined


def _has_rope(shape: Shape, layer: int, *, windowed: bool) -> bool:
    blueprint = blueprint_of(shape)
    if blueprint.rope_in_windows:
        return windowed or (blueprint.rope_in_lead and layer < shape.n_layer_dense_lead)
    return not blueprint.rope_period or (layer + 1) % blueprint.rope_period != 0


def _has_experts(shape: Shape, layer: int, n_ff: int) -> bool:
    if blueprint_of(shape).experts_by_width:
        return n_ff > 0
    if not shape.n_expert or layer < shape.n_layer_dense_lead:
        return False
    return (layer + 1) % shape.n_moe_layer_step == 0


def receives_extra_input(shape: Shape, i: int, layer: Layer) -> bool:
    """True if layer i gets a second tensor from the layer before: the convolution's last inputs
    (LFM2, Mamba), image rows (Qwen3-VL), per-layer embeddings (Gemma 3n), or the cells that an
    indexer chose (GLM 5.2).
    """
    blueprint = blueprint_of(shape)
    if shape.n_indexer_top_k:
        return not layer.indexes
    if blueprint.early_states:
        return layer.recurrent
    return i < shape.n_deepstack_layers or bool(
        blueprint.n_embd_per_layer or shape.n_embd_per_layer
    )
