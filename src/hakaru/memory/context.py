"""From the context that a person names to the settings of an engine, the same way for every verb.

Every verb that runs a model takes the fields of `Context` as keywords:

    hakaru.fit("model.gguf", n_ctx=8192, type_k="q8_0")

What is left out has llama.cpp's default; `n_ctx` has ours, which depends on the model. Pure.
"""

from typing import TYPE_CHECKING, Final, TypedDict, Unpack

from hakaru.errors import Misuse
from hakaru.memory.settings import ContextSettings

if TYPE_CHECKING:
    from hakaru.models.model import Model

DEFAULT_CONTEXT: Final = 4096
LEAST_CONTEXT: Final = 64


class Context(TypedDict, total=False):
    """How a person asks for a model to be run; `ContextSettings` says more of each field."""

    n_ctx: int  # tokens, shared by all conversations; if left out: `default_context`
    n_ubatch: int  # tokens of a micro-batch
    type_k: str  # type of the KV cache's keys
    type_v: str  # type of the KV cache's values
    n_parallel: int  # conversations at the same time
    cache_ram_mib: int  # RAM for prompts that no slot holds; if left out: what has room


def default_context(model: "Model") -> int:
    """4096 tokens, or what the model was trained for if that is less."""
    return min(model.shape.n_ctx_train or DEFAULT_CONTEXT, DEFAULT_CONTEXT)


def any_settings_for(
    model: "Model", *, kv_unified: bool = False, **context: Unpack[Context]
) -> ContextSettings:
    """The settings that `context` names for `model`.

    Raises Misuse for a context beyond what the model was trained for
    (docs/decisions/0014-context-beyond-training.md).
    """
    is_named = "n_ctx" in context
    context.setdefault("n_ctx", default_context(model))
    settings = ContextSettings(kv_unified=kv_unified, **context)
    each, trained = settings.tokens_each, model.shape.n_ctx_train
    if is_named and trained and each > trained:
        raise Misuse(
            "`n_ctx` {found} gives {each} tokens per conversation, but {path} was trained for "
            "{trained}, and llama.cpp's server gives no more than that: ask for `n_ctx` {most} or "
            "less.",
            found=settings.n_ctx,
            each=each,
            path=model.path,
            trained=trained,
            most=trained if kv_unified else trained * settings.n_parallel,
        )
    return settings


def settings_for(model: "Model", **context: Unpack[Context]) -> ContextSettings:
    """The settings that `context` names for `model`, to be served.

    Raises Misuse for a context that is too small to serve anything, and as `any_settings_for` does.
    """
    settings = any_settings_for(model, **context)
    if "n_ctx" in context and settings.tokens_each < LEAST_CONTEXT:
        raise Misuse(
            "`n_ctx` {found} gives {each} tokens per conversation, expected at least {least} "
            "to serve anything.",
            found=settings.n_ctx,
            each=settings.tokens_each,
            least=LEAST_CONTEXT,
        )
    return settings
