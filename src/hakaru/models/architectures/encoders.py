"""Encoders, which read every text at once and keep nothing: BERT and its successors."""

from typing import Final

from hakaru.models.architectures.parts.attention import QKV_BIAS, attention
from hakaru.models.architectures.parts.blueprint import Blueprint, Dense, PostNormed, Start
from hakaru.models.architectures.parts.feed_forward import dense
from hakaru.models.architectures.parts.sizes import Block, Sizes, either, norm, table
from hakaru.models.architectures.parts.tensor_table import TOKENS, TensorTable
from hakaru.models.architectures.record import ENCODER, UNCONVERTED, Architecture, Caches


def _post_normed(attend: Block, feed: Block, *start: Block) -> TensorTable:
    """Layers with a norm after each half; token types beside the tokens."""
    types = table("token_types.weight", lambda m: (m.n_embd, m.n_token_types))
    return TensorTable(
        layer=(
            attend,
            norm("attn_output_norm", bias=True),
            feed,
            norm("layer_output_norm", bias=True),
        ),
        start=(TOKENS, types, *start, norm("token_embd_norm", bias=True)),
        end=(),
    )


def _post_normed_graph(layer: PostNormed, start: Start) -> Blueprint:
    return Blueprint(layer=layer, start=start, end="nothing", layer_norm=True, begins_normed=False)


def _is_later(_: Sizes, layer: int) -> bool:
    """True for every layer but the first, which in ModernBERT has no norm before attention."""
    return layer > 0


def _encoder(name: str, tensors: TensorTable, graph: Blueprint) -> Architecture:
    return Architecture(
        name,
        tensors=tensors,
        caches=Caches(layers="nothing"),
        graph=graph,
        why_no_hugging_face=UNCONVERTED,
        plain=ENCODER,
        purpose="embedding",
    )


ARCHITECTURES: Final = (
    _encoder(
        "bert",
        _post_normed(
            attention(bias=(*QKV_BIAS, "attn_output.bias")),
            dense(gate=False, bias=True),
            table("position_embd.weight", lambda m: (m.n_embd, m.number("context_length"))),
        ),
        _post_normed_graph(
            PostNormed(feed=Dense(gate=False), rope=False), "tokens, types and positions, normed"
        ),
    ),
    _encoder(
        "nomic-bert",
        _post_normed(attention(), dense()),
        _post_normed_graph(PostNormed(feed=Dense()), "tokens and types, normed"),
    ),
    _encoder(
        "modern-bert",
        TensorTable(
            layer=(
                either(_is_later, (norm("attn_norm"),)),
                attention(fused=True),
                norm("ffn_norm"),
                dense(fused=True),
            ),
            start=(TOKENS, norm("token_embd_norm")),
            end=(norm("output_norm"),),
        ),
        Blueprint(
            layer="later normed",
            start="tokens, normed",
            end="norm",
            layer_norm=True,
            first_differs=True,
        ),
    ),
)
