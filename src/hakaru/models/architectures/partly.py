"""Architectures of which hakaru knows only a fact or two: a purpose, a rule of the quantizer, or
the size of a graph's records.

Tensors, caches and graphs of these architectures are not written down; only the engine's dry run
can tell what such a model takes.
"""

from typing import Final, TypedDict

from hakaru.models.architectures.record import UNCONVERTED, UNWRITTEN, Architecture, Quantizer


class _Reasons(TypedDict):
    why_no_tensors: str
    why_no_caches: str
    why_no_graph: str
    why_no_hugging_face: str


def _because(reason: str, of_hugging_face: str | None = None) -> _Reasons:
    """One reason for every part."""
    return _Reasons(
        why_no_tensors=reason,
        why_no_caches=reason,
        why_no_graph=reason,
        why_no_hugging_face=of_hugging_face or reason,
    )


_UNWRITTEN: Final = _because(UNWRITTEN, UNCONVERTED)
_ENCODER_DECODER: Final = _because(
    "an encoder with a decoder keeps two caches; the dry run answers"
)
_NO_SERVER: Final = _because("the engine's server does not run it")
_BESIDE: Final = _because("no model, but a file that lies beside one")
_DRAFT: Final = _because("a draft head, which runs only beside its model")
_PICTURES: Final = _because("makes pictures or films; other programs run it")

_ENCODERS: Final = (
    "nomic-bert-moe", "neo-bert", "jina-bert-v2", "jina-bert-v3", "eurobert",
)  # fmt: skip
_DIFFUSION: Final = ("dream", "llada", "llada-moe", "rnd1", "diffusion-gemma")
_DRAFTS: Final = ("eagle3", "dflash", "gemma4-assistant")
_IMAGE_MODELS: Final = (
    "flux", "sd1", "sd3", "sdxl", "aura", "hidream", "cosmos", "ltxv", "hyvid", "wan", "lumina2",
    "qwen_image", "pig", "chroma",
)  # fmt: skip
_WITH_RECORDS: Final = {
    "qwen4exp": 40, "clef": 40, "minimax-01": 40, "minimax-m3": 40, "hy_v4": 40, "hrm_text": 80,
}  # fmt: skip

ARCHITECTURES: Final = (
    *(Architecture(name, **_UNWRITTEN, purpose="embedding") for name in _ENCODERS),
    Architecture(
        "llama-embed",
        **_UNWRITTEN,
        purpose="embedding",
        quantizer=Quantizer(n_layer_of_70b=80, of_70b_shares_heads=True),
    ),
    Architecture("t5encoder", **_UNWRITTEN, purpose="embedding"),
    Architecture("t5", **_ENCODER_DECODER, purpose="encoder-decoder"),
    *(Architecture(name, **_NO_SERVER, purpose="diffusion") for name in _DIFFUSION),
    Architecture("wavtokenizer-dec", **_NO_SERVER, purpose="speech"),
    Architecture("clip", **_BESIDE, role="mmproj"),
    Architecture("controlvector", **_BESIDE, role="control vector"),
    *(Architecture(name, **_DRAFT, role="draft") for name in _DRAFTS),
    *(Architecture(name, **_PICTURES, role="image model") for name in _IMAGE_MODELS),
    *(
        Architecture(name, **_UNWRITTEN, graph_nodes_per_token=n_nodes)
        for name, n_nodes in _WITH_RECORDS.items()
    ),
    Architecture("deepseek4", guesses=True, **_UNWRITTEN, goes_back=True, graph_nodes_per_token=40),
    Architecture("kimi-k3", **_UNWRITTEN, goes_back=True, graph_nodes_per_token=160),
    Architecture(
        "bailingmoe3", guesses=True,
        **_UNWRITTEN,
        graph_nodes_per_token=40,
        quantizer=Quantizer(stacks_are_experts=False),
    ),
    Architecture(
        "glm5-next",
        **_UNWRITTEN,
        graph_nodes_per_token=160,
        quantizer=Quantizer(
            at_least_q8=("attn_q_a", "attn_q_b", "nextn.eh_proj"),
            kept=(
                "hc_", "indexer.attn_q_b", "indexer.attn_k", "indexer.proj",
                "indexer_compressor_gate", "indexer_compressor_ape", "ssm_f_a.weight",
                "ssm_f_b.weight", "ssm_g_a.weight", "ssm_g_b.weight", "ssm_beta.weight",
                "attn_kv_a_mqa.weight", "attn_k_b.weight", "attn_v_b.weight",
            ),
        ),
    ),
    Architecture(
        "nanbeige", **_UNWRITTEN, graph_nodes_per_token=40, quantizer=Quantizer(loops=True)
    ),
    Architecture("graniteswitch", **_UNWRITTEN, quantizer=Quantizer(n_layer_more=1)),
    Architecture("falcon", **_UNWRITTEN, quantizer=Quantizer(falcon=True)),
    Architecture("olmo", **_UNWRITTEN, quantizer=Quantizer(n_layer_of_70b=80)),
    Architecture("jais2", **_UNWRITTEN, quantizer=Quantizer(n_layer_of_70b=68)),
)  # fmt: skip
