"""A model cut into the pieces that llama.cpp places: the input, whole layers, their experts, and the output. Pure.

The input (embedding tables) always stays in host memory; a layer goes whole, with its KV cache, unless its experts are
kept in host memory; the output (norm and head) is one item behind the last layer. A head that is tied to the embeddings
is stored once in the file and needed twice where the output lies on an accelerator.

Source: llama.cpp, src/llama-arch.cpp (LLM_TENSOR_INFOS) and src/llama-model.cpp (load_tensors).
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

_LAYER: Final = re.compile(r"blk\.(\d+)\.")
_EXPERTS: Final = re.compile(r"\.ffn_(up|down|gate|gate_up)_(ch|)exps")  # what --n-cpu-moe moves; common/common.h
INPUT_TENSORS: Final = frozenset({"token_embd.weight", "position_embd.weight", "token_types.weight", "per_layer_token_embd.weight"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """Bytes of weights by piece. `layers` are without the `experts`; `tied_bytes` is the head's copy of the embeddings."""

    input_bytes: int
    layers: tuple[int, ...]
    experts: tuple[int, ...]
    output_bytes: int
    tied_bytes: int

    @property
    def n_layer(self) -> int:
        """How many layers there are."""
        return len(self.layers)

    @property
    def has_experts(self) -> bool:
        """Whether any layer has experts that can be kept in host memory."""
        return any(self.experts)

    @property
    def total_bytes(self) -> int:
        """All weights, once."""
        return self.input_bytes + sum(self.layers) + sum(self.experts) + self.output_bytes


def load_of(sizes: Iterable[tuple[str, int]], n_layer: int) -> Load:
    """The pieces of a model whose tensors have these names and bytes."""
    layers, experts = [0] * n_layer, [0] * n_layer
    inputs = output = embeddings = 0
    tied = True
    for name, n_bytes in sizes:
        if found := _LAYER.match(name):
            (experts if _EXPERTS.search(name) else layers)[int(found[1])] += n_bytes
        elif name in INPUT_TENSORS:
            inputs += n_bytes
            embeddings += n_bytes if name == "token_embd.weight" else 0
        else:
            output += n_bytes
            tied &= name != "output.weight"
    return Load(
        input_bytes=inputs,
        layers=tuple(layers),
        experts=tuple(experts),
        output_bytes=output,
        tied_bytes=embeddings if tied else 0,
    )
