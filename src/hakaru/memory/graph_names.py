"""The names of a graph's tensors as a person reads them. In the arithmetic they are English."""

from typing import Final

from hakaru.language import translate

NAMES: Final = frozenset((
    "attention", "chosen cells", "compressed keys and values", "convolution", "decay",
    "delta rule", "dt", "embeddings", "embeddings from outside", "embeddings of images",
    "embeddings with room for images", "experts", "experts in order", "feed-forward", "gate",
    "gate and up", "gate of experts", "gated", "gated experts", "indexer's mask",
    "indexer's scores", "inputs of the convolution", "keys", "last inputs", "logits", "mask",
    "mask of the window", "norm", "per-layer embeddings", "queries", "queries, keys, values",
    "scan", "scores", "state", "sum", "up", "up of experts", "values", "x and z", "z and x",
    "z, x, B, C and dt", "zeros for masks",
))  # fmt: skip
"""Of all tensors that are large in an architecture that hakaru knows."""


def spoken(name: str) -> str:
    """A tensor's name in the language in use."""
    return translate(name)
