"""What a model is for, as its header tells: text, vectors, scores, or what llama.cpp's server
cannot run.

Source: llama.cpp, `attention.causal` and `pooling_type` in src/llama-model.cpp, enum
llama_pooling_type in include/llama.h, and llama_model_has_encoder, llama_model_is_diffusion.
"""

from typing import Final, Literal

from hakaru.formats.metadata import Metadata
from hakaru.models.architectures import architecture
from hakaru.models.architectures.record import Purpose as UsualPurpose
from hakaru.models.model import Model

Purpose = UsualPurpose | Literal["reranker"]
POOLED, RANKED = (1, 2, 3), 4  # mean, the first token, the last token; a score
TEMPLATE: Final = "tokenizer.chat_template"


def purpose_of(model: Model) -> Purpose:
    """What `model` is for. A model that reads text and pools it gives vectors, whatever its layers
    could do besides.
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
    """The chat template that the header brings; None for a base model, which was never taught to
    chat.
    """
    return meta.text(TEMPLATE) or meta.text(f"{TEMPLATE}.tool_use") or None
