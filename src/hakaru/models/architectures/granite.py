"""Granite: dense models, mixtures of experts, and hybrids with Mamba 2."""

from collections.abc import Collection
from typing import Final

from hakaru.models.architectures.parts.attention import attention
from hakaru.models.architectures.parts.blueprint import (
    Attention,
    Blueprint,
    Dense,
    Experts,
    IfExperts,
    IfRecurrent,
    Mamba2,
    Residual,
    Shared,
)
from hakaru.models.architectures.parts.recurrent import mamba2
from hakaru.models.architectures.parts.sizes import either, without_kv
from hakaru.models.architectures.parts.tensor_table import DENSE_OR_EXPERTS, plain
from hakaru.models.architectures.record import (
    ENDS,
    IN_16_BITS,
    Architecture,
    Caches,
    HuggingFace,
    Hyperparameters,
    InVllm,
)
from hakaru.models.config_values import ConfigValues

_FEED: Final = IfExperts(Shared(Experts()), Dense())


def _hybrid(config: ConfigValues, hyperparameters: Hyperparameters, _: Collection[str]) -> None:
    n_layer = hyperparameters["block_count"]
    types = config.texts("layer_types", n_layer) or ("attention",) * n_layer
    if not hyperparameters.get("expert_count"):
        width = config.need("shared_intermediate_size", "intermediate_size")
        hyperparameters["feed_forward_length"] = width
    if all(t == "attention" for t in types):
        return  # see `_without_states`
    heads = hyperparameters["attention.head_count_kv"]
    hyperparameters |= {
        "attention.head_count_kv": [heads if t == "attention" else 0 for t in types],
        "ssm.conv_kernel": config.need("mamba_d_conv"),
        "ssm.state_size": config.need("mamba_d_state"),
        "ssm.group_count": config.need("mamba_n_groups"),
        "ssm.time_step_rank": config.need("mamba_n_heads"),
        "ssm.inner_size": config.need("mamba_n_heads") * config.need("mamba_d_head"),
    }


def _without_states(hyperparameters: Hyperparameters) -> str | None:
    """The plain Granite that a hybrid without recurrent layers is converted to; None for others."""
    if "ssm.state_size" in hyperparameters:
        return None
    return "granitemoe" if hyperparameters.get("expert_count") else "granite"


ARCHITECTURES: Final = (
    Architecture(
        "granite",
        tensors=plain(attention(), DENSE_OR_EXPERTS),
        caches=Caches(),
        graph=Blueprint(layer=Residual(Attention(), _FEED)),
        hugging_face=HuggingFace(classes=("GraniteForCausalLM",)),
        in_vllm=InVllm(),
    ),
    Architecture(
        "granitemoe",
        tensors=plain(attention(), DENSE_OR_EXPERTS),
        caches=Caches(),
        graph=Blueprint(layer=Residual(Attention(), _FEED)),
        hugging_face=HuggingFace(classes=("GraniteMoeForCausalLM", "GraniteMoeSharedForCausalLM")),
    ),
    Architecture(
        "granitehybrid",
        tensors=plain(either(without_kv, (mamba2(),), (attention(),)), DENSE_OR_EXPERTS),
        caches=Caches(layers="state without KV heads"),
        graph=Blueprint(
            layer=Residual(IfRecurrent(Mamba2(), Attention()), _FEED), early_states=True
        ),
        hugging_face=HuggingFace(
            classes=("GraniteMoeHybridForCausalLM",),
            fields=_hybrid,
            absent={"mamba_n_groups": 1},
            becomes=_without_states,
        ),
        in_vllm=InVllm(
            on_every_stage=ENDS, rotations="none", recurrent="mamba 2", types=IN_16_BITS
        ),
    ),
)
