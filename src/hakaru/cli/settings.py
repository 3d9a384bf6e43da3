"""From options to `ContextSettings`, the same way for every command."""

from typing import Any

from hakaru.errors import Misuse
from hakaru.memory.settings import ContextSettings
from hakaru.models.model import Model

DEFAULT_CONTEXT = 4096
LEAST_CONTEXT = 64


def default_context(model: Model) -> int:
    """4096 tokens, or what the model was trained for if that is less."""
    return min(model.shape.n_ctx_train or DEFAULT_CONTEXT, DEFAULT_CONTEXT)


def any_settings_for(
    model: Model, *, context: int | None, ubatch: int, cache_type_k: str, cache_type_v: str, parallel: int, kv_unified: bool = False
) -> ContextSettings:
    """The settings that the options ask for.

    Raises Misuse for a context beyond what the model was trained for (see docs/decisions/0014-context-beyond-training.md).
    """
    settings = ContextSettings(
        n_ctx=default_context(model) if context is None else context,
        n_ubatch=ubatch,
        type_k=cache_type_k,
        type_v=cache_type_v,
        n_parallel=parallel,
        kv_unified=kv_unified,
    )
    each, trained = settings.tokens_each, model.shape.n_ctx_train
    if context is not None and trained and each > trained:
        raise Misuse(
            "--context {found} gives {each} tokens per conversation, but {path} was trained for {trained}, and llama.cpp's server "
            "gives no more than that: ask for --context {most} or less.",
            found=context, each=each, path=model.path, trained=trained, most=trained if kv_unified else trained * parallel,
        )  # fmt: skip
    return settings


def settings_for(model: Model, *, context: int | None, **options: Any) -> ContextSettings:
    """The settings that the options ask for, to be served.

    Raises Misuse for a context that is too small to serve anything, and as `any_settings_for` does.
    """
    settings = any_settings_for(model, context=context, **options)
    each = settings.tokens_each
    if context is not None and each < LEAST_CONTEXT:
        raise Misuse(
            "--context {found} gives {each} tokens per conversation, expected at least {least} to serve anything.",
            found=context,
            each=each,
            least=LEAST_CONTEXT,
        )
    return settings
