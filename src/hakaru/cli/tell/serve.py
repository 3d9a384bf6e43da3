"""What `hakaru serve` says, and every command that serves: what answers where, and the ways on."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from hakaru.cli.next_steps import english_only
from hakaru.cli.paste import pasted
from hakaru.cli.wrapping import whole
from hakaru.engine.speculation import Speculation
from hakaru.language import listed, say
from hakaru.models.embedded import is_english_only
from hakaru.servers import running
from hakaru.serving.serve_at import Serving


def draining(n: int, within_s: float) -> str:
    """That answers on their way are waited for."""
    return say(
        "Stopping: {n} answers on their way have {seconds:g} s; a second signal cuts them off.",
        n=n,
        seconds=within_s,
    )


def greeting(serving: Serving) -> str:
    """What answers, and where."""
    model, url = serving.deployment.model, serving.url
    if serving.names:
        return say(
            "{models}: each answers at {url} by its name  (Ctrl-C stops it)",
            models=listed(serving.names),
            url=url,
        )
    if not serving.is_new:
        return say("{model} already answers at {url}", model=model, url=url)
    if serving.gives == "embedding":
        sentence = say("{model} gives vectors: POST {url}/embeddings  (Ctrl-C stops it)")
    elif serving.gives == "reranker":
        sentence = say("{model} ranks documents: POST {url}/rerank  (Ctrl-C stops it)")
    else:
        sentence = say("{model} answers at {url}  (Ctrl-C stops it)")
    return sentence.format(model=model, url=url)


def ways_on(serving: Serving, source: Path | None, *, has_pages: bool) -> Iterator[str]:
    """What to do with the address; the next step is the last line."""
    url = serving.url
    if guesses := serving.deployment.settings.get("speculation"):
        is_named = bool(serving.deployment.settings.get("must_guess"))
        yield _guesses(Speculation.from_json(cast("dict[str, Any]", guesses)), is_named=is_named)
    if has_pages:
        page = url.removesuffix("v1")
        if serving.backends:
            yield say("A chat, and what each server does, in a browser: {url}", url=page)
        else:
            yield say("What was measured, in a browser: {url}", url=page)
    if serving.gives != "text":
        return
    if serving.leave:
        yield say("Prompts leave this machine: they go to {urls}.", urls=listed(serving.leave))
    elif serving.backends:
        yield say(
            "Prompts go to {urls}, on this machine; where a tunnel leads from there, hakaru does "
            "not see.",
            urls=listed(serving.backends),
        )
    if serving.deployment.key:
        yield say("For programs: any OpenAI client, base_url {url}, with your key", url=url)
    else:
        yield say("For programs: any OpenAI client, base_url {url}, no key", url=url)
    if is_english_only(source or Path(serving.deployment.path)):
        yield english_only("hakaru up MODEL.gguf")
    port = ("--port", str(serving.deployment.port)) if len(running()) > 1 else ()
    command = whole(pasted("hakaru", "chat", *port))
    yield say("Talk to it in another terminal: {command}", command=command)


def _guesses(way: Speculation, *, is_named: bool) -> str:
    """What guesses ahead: for which there was proof, or which a person named."""
    from hakaru.choosing.speculated import spoken  # it imports numpy, and few servers guess

    if is_named:
        return say(
            "Tokens are guessed ahead, {n} at once, by {name}, as you named it. Whether that is "
            "faster here: {command}",
            n=way.n_max,
            name=spoken(way),
            command=whole("hakaru tune MODEL --draft DRAFT"),
        )
    return say(
        "Tokens are guessed ahead, {n} at once, by {name}: measured to be faster here.",
        n=way.n_max,
        name=spoken(way),
    )
