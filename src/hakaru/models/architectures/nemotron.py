"""NVIDIA's Nemotron H. Each layer has one part: Mamba 2, attention, a dense feed-forward part, or
experts.
"""

from typing import Final

from hakaru.models.architectures.parts.attention import attention
from hakaru.models.architectures.parts.blueprint import Blueprint
from hakaru.models.architectures.parts.feed_forward import dense, experts, shared_expert
from hakaru.models.architectures.parts.recurrent import mamba2
from hakaru.models.architectures.parts.sizes import Sizes, either, norm, without_kv
from hakaru.models.architectures.parts.tensor_table import (
    PROBS_BIAS,
    TensorTable,
    has_experts,
    nextn,
)
from hakaru.models.architectures.record import (
    ENDS,
    IN_16_BITS,
    UNCONVERTED,
    Architecture,
    Caches,
    InVllm,
)


def _is_state(m: Sizes, layer: int) -> bool:
    return without_kv(m, layer) and m.n_ff(layer) == 0


def _attends(m: Sizes, layer: int) -> bool:
    return m.n_ff(layer) == 0


_MOE: Final = (experts(gate=False, probs_bias=PROBS_BIAS), shared_expert(gate=False))
_FEED: Final = either(has_experts, _MOE, (dense(gate=False),))
_TENSORS: Final = TensorTable(
    layer=(
        norm("attn_norm"),
        either(_is_state, (mamba2(),), (either(_attends, (attention(),), (_FEED,)),)),
    ),
    nextn=(norm("attn_norm"), attention(), norm("post_attention_norm"), *_MOE, nextn),
)

ARCHITECTURES: Final = (
    Architecture(
        "nemotron_h",
        tensors=_TENSORS,
        caches=Caches(layers="one part"),
        graph=Blueprint(layer="one part", early_states=True, crossing_rows=(3, 6)),
        why_no_hugging_face=UNCONVERTED,
        goes_back=True,
        in_vllm=InVllm(
            on_every_stage=ENDS,
            rotations="none",
            recurrent="mamba 2",
            states_in_f32=True,
            types=IN_16_BITS,
        ),
    ),
    Architecture(
        "nemotron_h_moe",
        guesses=True,
        tensors=_TENSORS,
        caches=Caches(layers="one part"),
        graph=Blueprint(layer="one part", early_states=True, experts_by_width=True),
        why_no_hugging_face=UNCONVERTED,
        reads=("moe_latent_size",),
        goes_back=True,
        in_vllm=InVllm(
            on_every_stage=ENDS,
            rotations="none",
            recurrent="mamba 2",
            routers_in_f32=True,
            states_in_f32=True,
            types=IN_16_BITS,
        ),
    ),
)
