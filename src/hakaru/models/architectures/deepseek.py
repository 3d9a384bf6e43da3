"""DeepSeek 2 to 3.2, and models with the same latent attention (MLA): Mistral 4, GLM 5, Kimi
Linear.
"""

from collections.abc import Collection
from typing import Final

from hakaru.models.architectures.parts.attention import indexer, mla
from hakaru.models.architectures.parts.blueprint import (
    Blueprint,
    Dense,
    Experts,
    Gating,
    IfExperts,
    IfRecurrent,
    Mla,
    Residual,
    Shared,
)
from hakaru.models.architectures.parts.feed_forward import experts, shared_expert
from hakaru.models.architectures.parts.recurrent import kimi_delta
from hakaru.models.architectures.parts.sizes import Sizes, either, lead, norm, table, without_kv
from hakaru.models.architectures.parts.tensor_table import (
    PROBS_BIAS,
    WITH_SHARED,
    TensorTable,
    after_lead,
    nextn,
    plain,
)
from hakaru.models.architectures.record import (
    IN_16_BITS,
    SIGMOID,
    UNCONVERTED,
    Architecture,
    Caches,
    HuggingFace,
    Hyperparameters,
    InVllm,
)
from hakaru.models.config_values import ConfigValues

_RANKS: Final = ("attention.q_lora_rank", "attention.kv_lora_rank")


def _has_probs_bias(m: Sizes, layer: int) -> bool:
    """True for a layer of experts, in a model whose file has a bias for the choice of experts."""
    return not lead(m, layer) and PROBS_BIAS in m.having


_LAYER: Final = (
    norm("attn_norm"),
    mla,
    norm("ffn_norm"),
    after_lead(experts(probs_bias=None), shared_expert()),
    either(_has_probs_bias, (table(PROBS_BIAS, lambda m: (m.n_expert,)),)),
)
_SPARSE_LAYER: Final = (*_LAYER, indexer)
_SPARSE: Final = TensorTable(
    layer=_SPARSE_LAYER, nextn=(*_SPARSE_LAYER, nextn), nextn_loaded=(PROBS_BIAS,)
)


def _mla(config: ConfigValues, hyperparameters: Hyperparameters, _: Collection[str]) -> None:
    rank, rope = config.need("kv_lora_rank"), config.need("qk_rope_head_dim")
    hyperparameters |= {
        "attention.head_count_kv": 1,
        "attention.key_length": rank + rope,
        "attention.value_length": rank,
        "attention.kv_lora_rank": rank,
        "attention.key_length_mla": config.need("qk_nope_head_dim") + rope,
        "attention.value_length_mla": config.need("v_head_dim"),
        "rope.dimension_count": rope,
    }
    if q_rank := config.number("q_lora_rank"):
        hyperparameters["attention.q_lora_rank"] = q_rank


def _graph_of_moe(*, unstated: Gating = "sigmoid") -> IfExperts:
    """The feed-forward part. A vocabulary of 154,880 tokens is that of GLM 4.7 Flash, whose files
    state no gating and mean sigmoids.
    """
    gating = Experts(gating="stated", unstated=unstated, sigmoid_n_vocab=154880)
    return IfExperts(Shared(gating), Dense())


_SPARSE_GRAPH: Final = Blueprint(layer=Residual(Mla(sparse=True), _graph_of_moe()))

ARCHITECTURES: Final = (
    Architecture(
        "deepseek2",
        guesses=True,
        tensors=TensorTable(layer=_LAYER),
        caches=Caches(),
        graph=Blueprint(
            layer=Residual(Mla(), _graph_of_moe(unstated="softmax")), needs_mla_lengths=True
        ),
        hugging_face=HuggingFace(
            classes=("DeepseekV2ForCausalLM", "DeepseekV3ForCausalLM", "Glm4MoeLiteForCausalLM"),
            fields=_mla,
            tied="by config",
            dropped=r"model\.layers\.{n}\.",
        ),
        reads=_RANKS,
        in_vllm=InVllm(types=(*IN_16_BITS, "fp8")),
    ),
    Architecture(
        "mistral4",
        tensors=TensorTable(layer=_LAYER),
        caches=Caches(),
        graph=Blueprint(
            layer=Residual(Mla(), _graph_of_moe(unstated="softmax")), needs_mla_lengths=True
        ),
        why_no_hugging_face=UNCONVERTED,
        reads=_RANKS,
    ),
    Architecture(
        "deepseek32",
        guesses=True,
        tensors=_SPARSE,
        caches=Caches(indexed="all"),
        graph=_SPARSE_GRAPH,
        why_no_hugging_face=UNCONVERTED,
        plain=SIGMOID,
    ),
    Architecture(
        "glm-dsa",
        guesses=True,
        tensors=_SPARSE,
        caches=Caches(indexed="stated"),
        graph=_SPARSE_GRAPH,
        why_no_hugging_face=UNCONVERTED,
    ),
    Architecture(
        "kimi-linear",
        tensors=plain(either(without_kv, (kimi_delta,), (mla,)), WITH_SHARED),
        caches=Caches(layers="state without KV heads"),
        graph=Blueprint(
            layer=Residual(IfRecurrent("Kimi's delta attention", Mla(rope=False)), _graph_of_moe()),
            needs_mla_lengths=True,
        ),
        why_no_hugging_face=UNCONVERTED,
        plain=SIGMOID,
        reads=("attention.kv_lora_rank", "kda."),
        graph_nodes_per_token=40,
    ),
)
