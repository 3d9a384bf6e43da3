"""GLM 4, dense and with experts. GLM 5 stands with DeepSeek, whose attention it has."""

from collections.abc import Collection
from typing import Final

from hakaru.models.architectures.parts.attention import QKV_BIAS, attention
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
    append_nextn,
    nextn,
    sandwich,
)
from hakaru.models.architectures.record import (
    Architecture,
    Caches,
    HuggingFace,
    Hyperparameters,
    InVllm,
)
from hakaru.models.config_values import ConfigValues

_MOE: Final = (
    norm("attn_norm"),
    attention(bias=QKV_BIAS),
    norm("post_attention_norm"),
    WITH_SHARED,
)


def _glm_moe(
    config: ConfigValues, hyperparameters: Hyperparameters, names: Collection[str]
) -> None:
    """Blocks for multi-token prediction are counted if the checkpoint has them."""
    first = f"model.layers.{hyperparameters['block_count']}."
    if any(name.startswith(first) for name in names):
        append_nextn(hyperparameters, config.number("num_nextn_predict_layers") or 0)


ARCHITECTURES: Final = (
    Architecture(
        "glm4",
        tensors=TensorTable(layer=sandwich(attention(), dense(fused=True))),
        caches=Caches(),
        graph=Blueprint(layer=Residual(Attention(), Dense(fused=True), norms="both")),
        hugging_face=HuggingFace(classes=("Glm4ForCausalLM",)),
    ),
    Architecture(
        "glm4moe",
        guesses=True,
        tensors=TensorTable(layer=_MOE, nextn=(*_MOE, nextn)),
        caches=Caches(),
        graph=Blueprint(
            layer=Residual(Attention(), IfExperts(Shared(Experts(gating="stated")), Dense()))
        ),
        hugging_face=HuggingFace(classes=("Glm4MoeForCausalLM",), fields=_glm_moe),
        in_vllm=InVllm(routers_in_f32=True),
    ),
)
