"""Microsoft's Phi 3 and Phi MoE."""

from typing import Final

from hakaru.models.architectures.parts.attention import QKV_BIAS, attention
from hakaru.models.architectures.parts.blueprint import (
    Attention,
    Blueprint,
    Dense,
    Experts,
    Residual,
)
from hakaru.models.architectures.parts.feed_forward import dense, experts
from hakaru.models.architectures.parts.sizes import norm, table
from hakaru.models.architectures.parts.tensor_table import TensorTable, output, plain, rope
from hakaru.models.architectures.record import Architecture, Caches, HuggingFace

ARCHITECTURES: Final = (
    Architecture(
        "phi3",
        tensors=plain(attention(fused=True), dense(fused=True)),
        caches=Caches(),
        graph=Blueprint(layer=Residual(Attention(fused=True), Dense(fused=True), late=True)),
        hugging_face=HuggingFace(classes=("Phi3ForCausalLM",)),
    ),
    Architecture(
        "phimoe",
        tensors=TensorTable(
            layer=(
                norm("attn_norm", bias=True),
                attention(bias=(*QKV_BIAS, "attn_output.bias")),
                norm("ffn_norm", bias=True),
                experts(width="dense"),
            ),
            end=(
                norm("output_norm", bias=True),
                output,
                table("output.bias", lambda m: (m.n_vocab,)),
                rope,
            ),
        ),
        caches=Caches(),
        graph=Blueprint(layer=Residual(Attention(), Experts(), late=True)),
        hugging_face=HuggingFace(classes=("PhiMoEForCausalLM",)),
    ),
)
