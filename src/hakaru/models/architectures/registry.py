"""Which blocks each architecture is made of, by llama.cpp's names.

One entry is one `load_arch_tensors` in llama.cpp's src/models, minus what no converter writes today. Left out, because
llama.cpp knows them and hakaru does not yet: anything that is not a key of ARCHITECTURES.
"""

from typing import Final

from hakaru.models.architectures import gemma
from hakaru.models.architectures.attention import QKV_BIAS, attention, mla
from hakaru.models.architectures.families import (
    DECI,
    DEEPSEEK,
    DENSE_OR_EXPERTS,
    GLM_MOE,
    NEMOTRON_H,
    POST_NORMED,
    PROBS,
    PROBS_BIAS,
    QK_NORMED,
    QWEN_MOE,
    SHORT_CONV,
    SPARSE,
    TOKENS,
    Architecture,
    after_lead,
    attention_gate,
    encoder,
    nextn,
    output,
    plain,
    qwen_linear,
    rope,
)
from hakaru.models.architectures.feed_forward import dense, experts, shared_expert
from hakaru.models.architectures.recurrent import kimi_delta, mamba, mamba2, plamo_mamba
from hakaru.models.architectures.sizes import either, norm, table, without_kv

ARCHITECTURES: Final[dict[str, Architecture]] = {
    "llama": plain(attention(), DENSE_OR_EXPERTS),
    "mistral3": plain(attention(), DENSE_OR_EXPERTS),
    "qwen2": plain(attention(bias=QKV_BIAS), dense()),
    "qwen2vl": plain(attention(bias=QKV_BIAS), dense()),
    "qwen2moe": Architecture(layer=(norm("attn_norm"), attention(bias=QKV_BIAS), norm("ffn_norm"), *QWEN_MOE)),
    "qwen3": plain(attention(qk_norm="head"), dense()),
    "qwen3vl": plain(attention(qk_norm="head"), dense()),
    "qwen3moe": plain(attention(qk_norm="head"), experts()),
    "qwen3vlmoe": plain(attention(qk_norm="head"), experts()),
    "qwen3next": qwen_linear(QWEN_MOE, joint=True),
    "qwen35": qwen_linear((dense(),), joint=False),
    "qwen35moe": qwen_linear(QWEN_MOE, joint=False),
    "gemma": plain(attention(), dense()),
    "gemma2": Architecture(layer=gemma.GEMMA2),
    "gemma3": Architecture(layer=gemma.GEMMA3),
    "gemma-embedding": Architecture(layer=gemma.GEMMA3),
    "gemma3n": Architecture(layer=gemma.GEMMA3N, start=(TOKENS, gemma.altup_model)),
    "gemma4": Architecture(layer=gemma.GEMMA4, start=(TOKENS, gemma.per_layer_embeddings)),
    "phi3": plain(attention(fused=True), dense(fused=True)),
    "phimoe": Architecture(
        layer=(
            norm("attn_norm", bias=True),
            attention(bias=(*QKV_BIAS, "attn_output.bias")),
            norm("ffn_norm", bias=True),
            experts(width="dense"),
        ),
        end=(norm("output_norm", bias=True), output, table("output.bias", lambda m: (m.n_vocab,)), rope),
    ),
    "gpt-oss": Architecture(
        layer=(
            norm("attn_norm"),
            attention(bias=(*QKV_BIAS, "attn_output.bias"), sinks=True),
            norm("post_attention_norm"),
            experts(bias=True),
        )
    ),
    "deepseek2": Architecture(layer=(*DEEPSEEK, PROBS)),
    "mistral4": Architecture(layer=(*DEEPSEEK, PROBS)),
    "deepseek32": Architecture(layer=SPARSE, nextn=(*SPARSE, nextn), nextn_loaded=(PROBS_BIAS,)),
    "glm-dsa": Architecture(layer=SPARSE, nextn=(*SPARSE, nextn), nextn_loaded=(PROBS_BIAS,)),
    "glm4": Architecture(layer=gemma.sandwich(attention(), dense(fused=True))),
    "glm4moe": Architecture(layer=GLM_MOE, nextn=(*GLM_MOE, nextn)),
    "granite": plain(attention(), DENSE_OR_EXPERTS),
    "granitemoe": plain(attention(), DENSE_OR_EXPERTS),
    "granitehybrid": Architecture(
        layer=(norm("attn_norm"), either(without_kv, (mamba2(),), (attention(),)), norm("ffn_norm"), DENSE_OR_EXPERTS)
    ),
    "falcon-h1": Architecture(
        layer=(norm("attn_norm"), mamba2(normed=False), attention(), table("ffn_norm", lambda m: (m.n_embd,)), dense())
    ),
    "lfm2": Architecture(layer=(norm("attn_norm"), SHORT_CONV, norm("ffn_norm"), dense()), end=(norm("token_embd_norm"), output)),
    "lfm2moe": Architecture(
        layer=(norm("attn_norm"), SHORT_CONV, norm("ffn_norm"), after_lead(experts(probs_bias=PROBS_BIAS))),
        end=(norm("token_embd_norm"), output),
    ),
    "nemotron_h": NEMOTRON_H,
    "nemotron_h_moe": NEMOTRON_H,
    "smollm3": plain(attention(), dense()),
    "olmo2": Architecture(layer=(attention(qk_norm="whole"), *POST_NORMED)),
    "olmoe": plain(attention(qk_norm="whole"), experts(width="dense")),
    "cohere2": Architecture(layer=(norm("attn_norm"), attention(), dense())),
    "command-r": Architecture(
        layer=(norm("attn_norm"), either(lambda m, _: m.n_layer >= 64, (attention(qk_norm="heads"),), (attention(),)), dense())
    ),
    "ernie4_5": plain(attention(), dense()),
    "ernie4_5-moe": plain(attention(), after_lead(experts(probs_bias=PROBS_BIAS), shared_expert())),
    "deci": DECI,
    "laguna": plain(
        attention(qk_norm="head"),
        after_lead(experts(probs_bias=PROBS_BIAS), shared_expert()),
        attention_gate(of_heads=True),
    ),
    "afmoe": Architecture(
        layer=(
            *gemma.sandwich(attention(qk_norm="head"), after_lead(experts(probs_bias=PROBS_BIAS), shared_expert())),
            attention_gate(of_heads=False),
        )
    ),
    "cohere2moe": Architecture(layer=(norm("attn_norm"), attention(), after_lead(experts(), shared_expert()))),
    "mimo2": Architecture(
        layer=(
            norm("attn_norm"),
            attention(),
            either(
                lambda m, i: m.of("attention.sliding_window_pattern", i) > 0,
                (table("attn_sinks.weight", lambda m: (max(m.all("attention.head_count")),)),),
            ),
            norm("ffn_norm"),
            after_lead(experts(probs_bias=PROBS_BIAS)),
        )
    ),
    "exaone": plain(attention(), dense()),
    "exaone4": Architecture(layer=(attention(qk_norm="head"), *POST_NORMED)),
    "exaone-moe": Architecture(
        layer=(*QK_NORMED, after_lead(experts(probs_bias=PROBS_BIAS), shared_expert())), nextn=(*QK_NORMED, dense(), nextn)
    ),
    "plamo2": Architecture(
        layer=(
            norm("attn_norm"),
            either(without_kv, (plamo_mamba,), (attention(qk_norm="heads", fused=True),)),
            table("post_attention_norm", lambda m: (m.n_embd,)),
            norm("ffn_norm"),
            dense(fused=True),
            table("post_ffw_norm", lambda m: (m.n_embd,)),
        )
    ),
    "llama4": plain(
        attention(),
        either(lambda m, i: (i + 1) % m.need("interleave_moe_layer_step") == 0, (experts(), shared_expert()), (dense(),)),
    ),
    "minimax-m2": plain(attention(qk_norm="whole"), experts(width="dense", probs_bias=PROBS_BIAS)),
    "hunyuan-dense": plain(attention(qk_norm="head"), dense()),
    "hunyuan-moe": Architecture(
        layer=(norm("attn_norm"), attention(qk_norm="head"), norm("ffn_norm"), experts(width="dense"), shared_expert())
    ),
    "hy_v3": Architecture(
        layer=(*QK_NORMED, after_lead(experts(probs_bias="exp_probs_b"), shared_expert())),
        nextn=(*QK_NORMED, experts(probs_bias="exp_probs_b"), shared_expert(), nextn),
        nextn_loaded=("exp_probs_b", "ffn_gate", "ffn_up", "ffn_down", "nextn.embed_tokens.", "nextn.shared_head_"),
    ),
    "seed_oss": Architecture(layer=(norm("attn_norm"), attention(bias=QKV_BIAS), norm("post_attention_norm"), dense())),
    "kimi-linear": Architecture(
        layer=(
            norm("attn_norm"),
            either(without_kv, (kimi_delta,), (mla,)),
            norm("ffn_norm"),
            after_lead(experts(probs_bias=PROBS_BIAS), shared_expert()),
        )
    ),
    "apertus": plain(attention(qk_norm="head"), dense(gate=False)),
    "mamba": Architecture(layer=(norm("attn_norm"), mamba)),
    "mamba2": Architecture(layer=(norm("attn_norm"), mamba2())),
    "bert": encoder(
        attention(bias=(*QKV_BIAS, "attn_output.bias")),
        dense(gate=False, bias=True),
        table("position_embd.weight", lambda m: (m.n_embd, m.number("context_length"))),
    ),
    "nomic-bert": encoder(attention(), dense()),
    "modern-bert": Architecture(
        layer=(
            either(lambda _, i: i > 0, (norm("attn_norm"),)),
            attention(fused=True),
            norm("ffn_norm"),
            dense(fused=True),
        ),
        start=(TOKENS, norm("token_embd_norm")),
        end=(norm("output_norm"),),
    ),
}
