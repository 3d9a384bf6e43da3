"""What distinguishes one layer's graph from another's, read from a model's numbers.

Source: llama.cpp, src/models/*.cpp.
"""

from dataclasses import replace

from hakaru.memory.blocks import Layer
from hakaru.models.architectures.parts.blueprint import Blueprint
from hakaru.models.shape import Shape


def blueprint_of(shape: Shape) -> Blueprint:
    """The blueprint of a model whose graph is known (see `compute.is_known`)."""
    blueprint = shape.record.graph
    assert blueprint is not None
    return blueprint


def layers_of(shape: Shape) -> list[Layer]:
    """What the graph of each layer depends on, draft layers left out."""
    caches = shape.caches or ()
    without_cache = shape.record.caches is not None and shape.record.caches.layers == "nothing"
    blueprint, found = blueprint_of(shape), []
    n = shape.n_layer - shape.n_layer_nextn
    for i in range(n):
        cache = caches[i]
        n_ff = shape.n_ffs[i] if shape.n_ffs else shape.n_ff or 0
        n_head_kv = shape.n_head_kv[i]
        found.append(
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
                experts=_has_experts(shape, i, n_ff),
                rope=_has_rope(blueprint, i, windowed=cache.window is not None),
                first=i == 0 and blueprint.first_differs,
                last=i == n - 1 and blueprint.trimmed,
            )
        )
    found = _joined(found)
    n = len(found)
    return [
        replace(layer, hands=i + 1 < n and takes(shape, i + 1, found[min(i + 1, n - 1)]))
        for i, layer in enumerate(found)
    ]


def _joined(layers: list[Layer]) -> list[Layer]:
    """Dense feed-forward layers join the layer before them, as in NVIDIA's Nemotron H."""
    found: list[Layer] = []
    for layer in layers:
        if found and not (layer.attends or layer.recurrent or layer.experts):
            found[-1] = replace(found[-1], then=(*found[-1].then, layer.n_ff), last=layer.last)
        else:
            found.append(layer)
    return found


def _has_rope(blueprint: Blueprint, layer: int, *, windowed: bool) -> bool:
    if blueprint.rope_in_windows:
        return windowed
    return not blueprint.rope_period or (layer + 1) % blueprint.rope_period != 0


def _has_experts(shape: Shape, layer: int, n_ff: int) -> bool:
    if blueprint_of(shape).experts_by_width:
        return n_ff > 0
    if not shape.n_expert or layer < shape.n_layer_dense_lead:
        return False
    return (layer + 1) % shape.n_moe_layer_step == 0


def takes(shape: Shape, i: int, layer: Layer) -> bool:
    """True if layer i gets a second tensor from the layer before: the convolution's last inputs
    (LFM2, Mamba), image rows (Qwen3-VL), or per-layer embeddings (Gemma 3n).
    """
    blueprint = blueprint_of(shape)
    if blueprint.early_states:
        return layer.recurrent
    return i < shape.n_deepstack_layers or bool(
        blueprint.n_embd_per_layer or shape.n_embd_per_layer
    )
