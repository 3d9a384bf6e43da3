"""From options to `ContextSettings`, the same way for every command."""

from hakaru.memory.footprint import ContextSettings
from hakaru.models.model import Model

DEFAULT_CONTEXT = 4096


def settings_for(
    model: Model, *, context: int | None, ubatch: int, cache_type_k: str, cache_type_v: str, parallel: int
) -> ContextSettings:
    """The settings that the options ask for; without --context 4096 tokens, or what the model was trained for if that is less."""
    default = min(model.shape.n_ctx_train or DEFAULT_CONTEXT, DEFAULT_CONTEXT)
    return ContextSettings(
        n_ctx=default if context is None else context,
        n_ubatch=ubatch,
        type_k=cache_type_k,
        type_v=cache_type_v,
        n_parallel=parallel,
    )
