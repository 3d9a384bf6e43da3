"""What a model is for, by its header: to write text, to turn texts into vectors, to score texts, or
something that llama.cpp's server cannot run.

Source: llama.cpp, `attention.causal` and `pooling_type` in src/llama-model.cpp, enum
llama_pooling_type in include/llama.h, and llama_model_has_encoder, llama_model_is_diffusion.
"""

from typing import Final, Literal

from hakaru.formats.metadata import Metadata
from hakaru.models.architectures import architecture
from hakaru.models.architectures.record import Purpose as UsualPurpose
from hakaru.models.model import Model

Purpose = UsualPurpose | Literal["reranker"]
POOLED, RANKED = (1, 2, 3), 4
"""Values of `pooling_type`. Pooled: the mean, the first token or the last token is the vector;
ranked: the result is a score.
"""
TEMPLATE: Final = "tokenizer.chat_template"


def purpose_of(model: Model) -> Purpose:
    """What `model` is for. A model whose header states a pooling gives vectors, though its layers
    may be those of a model that writes.
    """
    meta, usual = model.meta, architecture(model.shape.architecture).purpose
    pooling = meta.integer(meta.arch_key("pooling_type"))
    if usual not in {"text", "embedding"}:
        return usual
    if pooling == RANKED:
        return "reranker"
    if (
        usual == "embedding"
        or pooling in POOLED
        or meta.values.get(meta.arch_key("attention.causal")) is False
    ):
        return "embedding"
    return "text"


def chat_template_in(meta: Metadata) -> str | None:
    """The chat template in the header; None for a base model, which was never trained to chat."""
    return meta.text(TEMPLATE) or meta.text(f"{TEMPLATE}.tool_use") or None
