"""From options to `ContextSettings`, the same way for every command."""

from hakaru.errors import Misuse
from hakaru.memory.footprint import ContextSettings
from hakaru.models.model import Model

DEFAULT_CONTEXT = 4096
LEAST_CONTEXT = 64


def settings_for(
    model: Model, *, context: int | None, ubatch: int, cache_type_k: str, cache_type_v: str, parallel: int
) -> ContextSettings:
    """The settings that the options ask for; without --context 4096 tokens, or what the model was trained for if that
    is less.

    Raises Misuse for more tokens per conversation than the model was trained for: llama.cpp's server would quietly take
    fewer.
    """
    if context is not None and 0 < context // max(1, parallel) < LEAST_CONTEXT:
        raise Misuse(
            "--context {found} gives {each} tokens per conversation, expected at least {least} to serve anything.",
            found=context,
            each=context // max(1, parallel),
            least=LEAST_CONTEXT,
        )
    trained = model.shape.n_ctx_train
    if context is not None and trained and context // max(1, parallel) > trained:
        raise Misuse(
            "--context {found} gives {each} tokens per conversation, but {path} was trained for {trained}; the server refuses more.",
            found=context,
            each=context // max(1, parallel),
            path=model.path,
            trained=trained,
        )
    return any_settings_for(
        model, context=context, ubatch=ubatch, cache_type_k=cache_type_k, cache_type_v=cache_type_v, parallel=parallel
    )


def any_settings_for(
    model: Model, *, context: int | None, ubatch: int, cache_type_k: str, cache_type_v: str, parallel: int
) -> ContextSettings:
    """`settings_for` without the limit: for a question that nobody serves."""
    default = min(model.shape.n_ctx_train or DEFAULT_CONTEXT, DEFAULT_CONTEXT)
    return ContextSettings(
        n_ctx=default if context is None else context,
        n_ubatch=ubatch,
        type_k=cache_type_k,
        type_v=cache_type_v,
        n_parallel=parallel,
    )
