"""Commands that a reader of the page pastes: the model and its settings, as a shell takes them."""

import shlex

from hakaru.memory.context import settings_for
from hakaru.memory.settings import ContextSettings
from hakaru.models.model import Model


def shell_path(model: Model) -> str:
    """The model's path as a shell takes it, whatever stands in its name."""
    return shlex.quote(str(model.path))


def options(model: Model, settings: ContextSettings) -> str:
    """The options that make these settings, as far as they are not the usual ones."""
    usual = settings_for(model)
    asked = {
        "--context": (settings.n_ctx, usual.n_ctx),
        "--parallel": (settings.n_parallel, usual.n_parallel),
        "--ubatch": (settings.n_ubatch, usual.n_ubatch),
        "--cache-type-k": (settings.type_k, usual.type_k),
        "--cache-type-v": (settings.type_v, usual.type_v),
    }
    return "".join(f" {name} {value}" for name, (value, other) in asked.items() if value != other)
