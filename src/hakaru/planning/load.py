"""A model cut into the pieces that llama.cpp places: the input, whole layers, their experts, and
the output. Pure.

The input (embedding tables) always stays in host memory; a layer goes whole, with its KV cache,
unless its experts are kept in host memory; the output (norm and head) is one item behind the last
layer. A head that is tied to the embeddings is stored once in the file and needed twice where the
output lies on an accelerator.

Source: llama.cpp, src/llama-arch.cpp (LLM_TENSOR_INFOS) and src/llama-model.cpp (load_tensors).
"""

import re
from collections.abc import Iterable
from typing import Final

from msgspec import Struct

from hakaru.formats.gguf import Tensor
from hakaru.models.architectures import buffer_bytes

_LAYER: Final = re.compile(r"(?:enc\.|dec\.)?blk\.(\d+)\.")
_KEYS: Final = re.compile(r"\.attn_(k|v|qkv|kv_a_mqa)\.weight$")
_STATES: Final = re.compile(r"\.(ssm|time_mix|shortconv)_?")
_EXPERTS: Final = re.compile(
    r"\.ffn_(up|down|gate|gate_up)_(ch|)exps"
)  # what --n-cpu-moe moves; common/common.h
EMBEDDINGS: Final = "token_embd.weight"
INPUT_TENSORS: Final = frozenset(
    {EMBEDDINGS, "position_embd.weight", "token_types.weight", "per_layer_token_embd.weight"}
)
FIRST_LAYER_TENSORS: Final = frozenset(
    {"per_layer_model_proj.weight", "per_layer_proj_norm.weight"}
)  # Gemma 3n and 4
SHARED_TENSORS: Final = frozenset(
    {"rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight"}
)


class Load(Struct, frozen=True, kw_only=True):
    """Bytes of a model's weights, by piece."""

    input_bytes: int
    layers: tuple[int, ...]  # of each layer, without its experts
    experts: tuple[int, ...]  # of each layer
    output_bytes: int
    tied_bytes: int  # the head's copy of the embeddings
    always_copied: bool = False  # llama.cpp copies them even if head and input share a memory
    shared_bytes: int = 0  # on every device that has layers
    largest_bytes: int = 0  # of the largest tensor of a layer
    kv_widths: tuple[int, ...] = ()  # of each layer: elements of a token's keys and values
    has_states: bool = False  # any layer keeps a recurrent state

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
        return (
            self.input_bytes
            + sum(self.layers)
            + sum(self.experts)
            + self.output_bytes
            + self.shared_bytes
        )


def layer_of(name: str) -> int | None:
    """The layer with which a tensor goes; None for the input, the output, and what every device
    needs.
    """
    if name in FIRST_LAYER_TENSORS:
        return 0
    match = _LAYER.match(name)
    return int(match[1]) if match else None


def load_of(tensors: Iterable[Tensor], n_layer: int) -> Load:
    """The pieces of a model, from the tensors that llama.cpp loads (`Model.loaded`), each padded to
    32 bytes.
    """
    layers, experts = [0] * n_layer, [0] * n_layer
    inputs: dict[str, int] = {}
    widths, states = [0] * n_layer, set[int]()
    output, tied, copies, shared, largest = 0, True, 0, 0, 0
    for tensor in tensors:
        n_bytes, layer = buffer_bytes((tensor,)), layer_of(tensor.name)
        if layer is not None and layer < n_layer:
            (experts if _EXPERTS.search(tensor.name) else layers)[layer] += n_bytes
            largest = max(largest, n_bytes)
            if _KEYS.search(tensor.name):
                widths[layer] += tensor.shape[-1] - (tensor.shape[0] if "qkv" in tensor.name else 0)
            if _STATES.search(tensor.name):
                states.add(layer)
        elif tensor.name in INPUT_TENSORS:
            copies += tensor.name in inputs
            inputs[tensor.name] = n_bytes
        elif tensor.name in SHARED_TENSORS:
            shared += n_bytes
        else:
            output += n_bytes
            tied &= tensor.name != "output.weight"
    return Load(
        input_bytes=sum(inputs.values()),
        layers=tuple(layers),
        experts=tuple(experts),
        output_bytes=output,
        tied_bytes=inputs.get(EMBEDDINGS, 0) if tied else 0,
        always_copied=copies > 0,
        shared_bytes=shared,
        largest_bytes=largest,
        kv_widths=tuple(0 if i in states else width for i, width in enumerate(widths)),
        has_states=bool(states),
    )
