"""LG's EXAONE, dense and with experts."""

from typing import Final

from hakaru.models.architectures.parts.attention import attention
from hakaru.models.architectures.parts.blueprint import (
    Attention,
    Blueprint,
    Dense,
    Experts,
    IfExperts,
    Residual,
    Shared,
)
from hakaru.models.architectures.parts.feed_forward import dense
from hakaru.models.architectures.parts.sizes import norm
from hakaru.models.architectures.parts.tensor_table import (
    WITH_SHARED,
    TensorTable,
    nextn,
    plain,
    post_normed,
)
from hakaru.models.architectures.record import (
    IN_16_BITS,
    SIGMOID,
    UNCONVERTED,
    Architecture,
    Caches,
    HuggingFace,
    InVllm,
    Window,
)

_ATTEND: Final = (norm("attn_norm"), attention(qk_norm="head"), norm("ffn_norm"))

ARCHITECTURES: Final = (
    Architecture(
        "exaone",
        tensors=plain(attention(), dense()),
        caches=Caches(),
        graph=Blueprint(layer=Residual(Attention(), Dense())),
        hugging_face=HuggingFace(classes=("ExaoneForCausalLM",)),
    ),
    Architecture(
        "exaone4",
        tensors=post_normed(attention(qk_norm="head"), dense()),
        # llama.cpp, src/models/exaone4.cpp: only the 32B model has windows
        caches=Caches(window=Window(period=4, default=4096, of_n_layer=64)),
        graph=Blueprint(layer=Residual(Attention(), Dense(), norms="after"), begins_normed=False),
        hugging_face=HuggingFace(classes=("Exaone4ForCausalLM",), windows=True),
        in_vllm=InVllm(types=IN_16_BITS),
    ),
    Architecture(
        "exaone-moe",
        tensors=TensorTable(layer=(*_ATTEND, WITH_SHARED), nextn=(*_ATTEND, dense(), nextn)),
        caches=Caches(window=Window(period=4, default=128)),
        graph=Blueprint(
            layer=Residual(Attention(), IfExperts(Shared(Experts(gating="stated")), Dense()))
        ),
        why_no_hugging_face=UNCONVERTED,
        plain=SIGMOID,
    ),
)
