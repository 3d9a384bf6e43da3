"""Cohere's Command R and its successors: attention and feed-forward side by side, from one norm."""

from typing import Final

from hakaru.models.architectures.parts.attention import attention
from hakaru.models.architectures.parts.blueprint import (
    Attention,
    Blueprint,
    Dense,
    Experts,
    IfExperts,
    Parallel,
    Shared,
)
from hakaru.models.architectures.parts.feed_forward import dense, experts, shared_expert
from hakaru.models.architectures.parts.sizes import Sizes, either, norm
from hakaru.models.architectures.parts.tensor_table import TensorTable, after_lead
from hakaru.models.architectures.record import (
    ENDS,
    IN_16_BITS,
    UNCONVERTED,
    Architecture,
    Caches,
    HuggingFace,
    InVllm,
    Window,
)


def _is_plus(m: Sizes, _: int) -> bool:
    """True for Command R+ and larger models, which norm queries and keys."""
    return m.n_layer >= 64


ARCHITECTURES: Final = (
    Architecture(
        "command-r",
        tensors=TensorTable(
            layer=(
                norm("attn_norm"),
                either(_is_plus, (attention(qk_norm="heads"),), (attention(),)),
                dense(),
            )
        ),
        caches=Caches(),
        graph=Blueprint(layer=Parallel(Attention(), Dense()), layer_norm=True),
        hugging_face=HuggingFace(classes=("CohereForCausalLM",), tied="always"),
    ),
    Architecture(
        "cohere2",
        tensors=TensorTable(layer=(norm("attn_norm"), attention(), dense())),
        caches=Caches(window=Window(period=4)),
        graph=Blueprint(
            layer=Parallel(Attention(), Dense()), layer_norm=True, rope_in_windows=True
        ),
        hugging_face=HuggingFace(classes=("Cohere2ForCausalLM",), windows=True, tied="always"),
        in_vllm=InVllm(on_every_stage=ENDS, window_more=1, types=IN_16_BITS),
    ),
    Architecture(
        "cohere2moe",
        guesses=True,
        tensors=TensorTable(
            layer=(norm("attn_norm"), attention(), after_lead(experts(), shared_expert()))
        ),
        caches=Caches(window=Window(period=4, dense_first=True)),
        graph=Blueprint(
            layer=Parallel(
                Attention(), IfExperts(Shared(Experts(gating="sigmoid", normed=False)), Dense())
            ),
            layer_norm=True,
            rope_in_windows=True,
            rope_in_lead=True,
        ),
        why_no_hugging_face=UNCONVERTED,
    ),
)
