"""The part "API" of the page: who may use the server, and calls to copy."""

from collections.abc import Callable, Sequence
from typing import Any

from hakaru.engine.mode import Gives
from hakaru.language import listed, say, together
from hakaru.serving.entrance import Entrance
from hakaru.web.examples import KEY, examples


def api_part(
    models: Sequence[tuple[str, Gives]],
    entrance: Entrance,
    base_url: str,
    runnable: Callable[[str], str],
    *,
    are_several: bool,
) -> dict[str, Any]:
    """What the template shows, in the language in use. `models` have names and what they give. Of
    several that give the same, the first stands in the calls.
    """
    has_key = bool(entrance.digests)
    firsts: dict[Gives, str] = {}
    for name, gives in models:
        firsts.setdefault(gives, name)
    told = [
        example._replace(text=runnable(example.text))
        for gives, name in firsts.items()
        for example in examples(
            base_url, gives, model=name if are_several else None, has_key=has_key
        )
    ]
    text = [_who_may_use(entrance)]
    if are_several:
        names = listed(name for name, _ in models)
        text.append(say("Every request names one of the models: {names}.", names=names))
    return {"title": say("Use it"), "text": together(text), "examples": list(dict.fromkeys(told))}


def _who_may_use(entrance: Entrance) -> str:
    if not entrance.digests:
        return say(
            "Any OpenAI client works with this address; no key is needed. The server listens on "
            "this machine only."
        )
    text = say(
        "Any OpenAI client works with this address and a key, which goes in the place of {key}.",
        key=KEY,
    )
    if entrance.is_local:
        return together([text, say("The server listens on this machine only.")])
    return together([text, say("Other machines can connect.")])
