"""StepFun's Step 3.5: experts after a few dense layers, a gate for every head, and more heads in
layers with a window.

Source: llama.cpp, src/models/step35.cpp and conversion/step3.py.
"""

import re
from collections.abc import Collection
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
from hakaru.models.architectures.parts.sizes import MAX_WIDTH, norm
from hakaru.models.architectures.parts.tensor_table import (
    WITH_SHARED,
    TensorTable,
    append_nextn,
    attention_gate,
    nextn,
)
from hakaru.models.architectures.record import (
    Architecture,
    Caches,
    HuggingFace,
    Hyperparameters,
    Window,
)
from hakaru.models.config_values import ConfigValues

_ATTEND: Final = (
    norm("attn_norm"),
    attention(qk_norm="head"),
    attention_gate(of_heads=True),
    norm("ffn_norm"),
)


def _step(config: ConfigValues, hyperparameters: Hyperparameters, names: Collection[str]) -> None:
    """Layers with a window have other heads than layers that see everything. Blocks for multi-token
    prediction are counted if the checkpoint has them, and may have windows, too.
    """
    n_layer = hyperparameters["block_count"]
    if any(name.startswith(f"model.layers.{n_layer}.") for name in names):
        append_nextn(hyperparameters, config.number("num_nextn_predict_layers") or 0)
    n_layer_all = hyperparameters["block_count"]
    types = config.texts("layer_types", n_layer, up_to=n_layer_all) or ()
    sees_window = [t == "sliding_attention" for t in types]
    sees_window += [False] * (n_layer_all - len(types))
    in_windows = config.part("attention_other_setting")
    for key, field in (
        ("attention.head_count", "num_attention_heads"),
        ("attention.head_count_kv", "num_attention_groups"),
    ):
        full = config.need(field, high=MAX_WIDTH)
        windowed = in_windows.number(field) or full
        hyperparameters[key] = [windowed if flag else full for flag in sees_window]
    hyperparameters |= {
        "attention.sliding_window": config.need("sliding_window"),
        "attention.sliding_window_pattern": sees_window,
        "expert_used_count": config.need("moe_top_k"),
        "expert_shared_feed_forward_length": config.need("share_expert_dim"),
        "leading_dense_block_count": min(
            map(int, re.findall(r"\d{1,9}", config.text("moe_layers_enum") or "")), default=0
        ),
    }


def _heads_of_mtp(_: ConfigValues, __: Hyperparameters, names: Collection[str]) -> set[str]:
    """Blocks for multi-token prediction have an output matrix of their own, under another name than
    those of other models.
    """
    own = any(name.endswith("shared_head.output.weight") for name in names)
    return {"nextn.shared_head_head.weight"} if own else set()


ARCHITECTURES: Final = (
    Architecture(
        "step35",
        guesses=True,
        tensors=TensorTable(
            layer=(*_ATTEND, WITH_SHARED),
            nextn=(*_ATTEND, dense(), nextn),
            nextn_loaded=(
                "attn_q_norm", "attn_k_norm", "attn_gate", "ffn_gate", "ffn_up", "ffn_down",
                "nextn.embed_tokens.", "nextn.shared_head_",
            ),
        ),
        caches=Caches(window=Window(period=4, dense_first=True)),
        graph=Blueprint(
            layer=Residual(
                Attention(gate="per head"), IfExperts(Shared(Experts(gating="stated")), Dense())
            ),
            end="logits beside rows",
        ),
        hugging_face=HuggingFace(
            classes=("Step3p5ForCausalLM",), fields=_step, having=_heads_of_mtp
        ),
    ),
)  # fmt: skip
