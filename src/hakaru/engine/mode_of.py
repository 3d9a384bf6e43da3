"""How the server of a model is run, by what the model is for; and what a model that gives no text
cannot be used for.
"""

import shlex
from collections.abc import Callable

from hakaru.engine.mode import Mode, named_template
from hakaru.errors import Misuse, ModelUnknown
from hakaru.language import say
from hakaru.models.model import Model
from hakaru.models.purpose import Purpose, chat_template_in, purpose_of


def mode_for(model: Model, chat_template: str | None, *, warn: Callable[[str], None]) -> Mode:
    """How the server of `model` is run. `warn` hears of a model that was never taught to chat.

    Raises ModelUnknown for a model that llama.cpp's server cannot run, and Misuse for a file that
    is no template, or a template for a model that does not chat.
    """
    purpose = _served_purpose(model)
    if purpose != "text":
        if chat_template:
            raise Misuse(
                "`chat_template` is for models that chat; {path} is {what}.",
                path=model.path,
                what=_kind(purpose),
            )
        return Mode(gives="embedding" if purpose == "embedding" else "reranker")
    template = named_template(chat_template) if chat_template else None
    if template is None and chat_template_in(model.meta) is None:
        warn(
            say(
                "{path} has no chat template: a base model, which continues texts. Conversations "
                "are written as ChatML, which it was not taught; ask it for completions "
                "(/v1/completions), or name its format: `chat_template` NAME or FILE.",
                path=model.path.name,
            )
        )
    return Mode(template=template)


def needs_text(
    model: Model, command: str, *, tasks: bool = False, chat_template: str | None = None
) -> None:
    """Raises Misuse where `command` wants text of a model that gives none, or tasks are to be asked
    of one that was never taught to chat, and ModelUnknown as `mode_for` does.
    """
    purpose = _served_purpose(model)
    if purpose != "text":
        raise Misuse(
            "{path}: is {what}: it gives no text, so hakaru {command} has nothing to ask or to "
            "measure; it can be served: hakaru serve {quoted}",
            path=model.path,
            what=_kind(purpose),
            command=command,
            quoted=shlex.quote(str(model.path)),
        )
    if tasks and chat_template is None and chat_template_in(model.meta) is None:
        raise Misuse(
            "{path}: has no chat template, so tasks, which are asked as conversations, would "
            "measure the wrong format and not the model; "
            "name its format with `chat_template` NAME or FILE, or leave `tasks` out.",
            path=model.path,
        )


def _served_purpose(model: Model) -> Purpose:
    """What `model` is for. Raises ModelUnknown if llama.cpp's server cannot run it."""
    purpose = purpose_of(model)
    if purpose not in {"text", "embedding", "reranker"}:
        raise ModelUnknown(
            "{path}: is {what}; llama.cpp's server does not run such models: choose another one.",
            path=model.path,
            what=_kind(purpose),
        )
    return purpose


def _kind(purpose: Purpose) -> str:
    return {
        "text": say("a language model"), "embedding": say("an embedding model"),
        "reranker": say("a reranker"), "encoder-decoder": say("an encoder-decoder model"),
        "diffusion": say("a diffusion model"), "speech": say("a speech decoder"),
    }[purpose]  # fmt: skip
