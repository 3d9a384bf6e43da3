"""The page of a server behind which others answer: a chat with their models, what each of them does
now, who reads the prompts, and how to call them.

Nothing is known of their machines but what they tell and what was seen of their answers: so there
is no memory, no plan and no measurement of a model here.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, Final

from starlette.requests import Request
from starlette.routing import BaseRoute, Route

from hakaru.engine.mode import Gives
from hakaru.language import listed, say, together
from hakaru.serving.backend import Backend
from hakaru.serving.serve_at import Elsewhere
from hakaru.web.addresses import CHAT_SCRIPT, PAGE_MODULES
from hakaru.web.api_tab import api_part
from hakaru.web.cards import Card
from hakaru.web.chat_tab import chat_part
from hakaru.web.privacy_tab import privacy_cards, privacy_told
from hakaru.web.root_page import root_page, root_routes
from hakaru.web.shared import piece

KINDS: Final = {"llamacpp": "llama.cpp", "vllm": "vLLM"}
"""Servers as people call them, by what they say of themselves."""


def backends_routes(what: Elsewhere, runnable: Callable[[str], str]) -> list[BaseRoute]:
    """The routes of the page."""

    def servers(request: Request) -> dict[str, Any]:
        return {"cards": [_card(one) for one in what.backends.all]}

    return [
        *root_routes(what.entrance, partial(_render, what, runnable)),
        Route("/state", piece("state.html", lambda _: _state(what))),
        Route("/backends/now", piece("cards.html", servers)),
        Route("/privacy/now", piece("cards.html", lambda _: {"cards": privacy_cards_of(what)})),
    ]


def _render(what: Elsewhere, runnable: Callable[[str], str], base_url: str) -> str:
    models = _models(what)
    are_several = len(models) > 1
    texts = [(name, _tokens_each(what, name)) for name, gives in models if gives == "text"]
    return root_page(
        title=say("{n} models", n=len(models)) if are_several else models[0][0],
        **_state(what),
        parts=[
            *([("chat", say("Chat"))] if texts else []),
            ("backends", say("Servers")), ("privacy", say("Privacy")), ("api", say("API")),
        ],
        modules=[*PAGE_MODULES, *([CHAT_SCRIPT] if texts else [])],
        chat=chat_part(texts, are_several=True),
        backends=_part(what),
        privacy=privacy_told(
            privacy_cards_of(what),
            say("What the servers behind this one keep of a prompt, hakaru does not see."),
        ),
        api=api_part(models, what.entrance, base_url, runnable, are_several=are_several),
    )  # fmt: skip


def _models(what: Elsewhere) -> list[tuple[str, Gives]]:
    """The models of all servers, with what they give."""
    models: dict[str, Gives] = {}
    for one in what.backends.all:
        for name in one.told.models:
            models.setdefault(name, one.gives(name))
    return list(models.items())


def _tokens_each(what: Elsewhere, model: str) -> int | None:
    """Tokens of a conversation, wherever it is answered; None where nobody tells."""
    contexts = [one.told.n_ctx for one in what.backends.having(model)]
    return min((n for n in contexts if n), default=None)


def _state(what: Elsewhere) -> dict[str, str]:
    """The state of the whole server."""
    every = what.backends.all
    n = sum(one.state == "ready" for one in every)
    told = say("{n} of {all} servers answer", n=n, all=len(every))
    return {"state": "ready" if n else "lost", "state_told": told}


def _part(what: Elsewhere) -> dict[str, Any]:
    """What the template shows of the servers."""
    return {
        "title": say("Servers"),
        "text": say(
            "A request goes to a server that has its model: to the one that knows its beginning, "
            "or else to the least busy one. A server is ready while it gives tokens, whatever its "
            "own health page says."
        ),
        "cards": [_card(one) for one in what.backends.all],
    }


def _card(one: Backend) -> Card:
    is_ready = one.state == "ready"
    words = {
        "ready": say("✓ ready"),
        "loading": say("loading"),
        "lost": say("lost"),
        "stopped": say("stopped"),
    }
    return Card(
        label=one.name,
        value=say("takes nothing new") if one.is_draining else words[one.state],
        note=together([*_told_by(one), *_seen_of(one)]),
        kind="" if one.is_draining else "good" if is_ready else "bad",
    )


def _told_by(one: Backend) -> list[str]:
    """What the server tells of itself."""
    told = one.told
    sentences = []
    if told.models:
        models, kind = listed(told.models), KINDS.get(told.owned_by, told.owned_by)
        sentences.append(
            say("{models}, by {kind}.", models=models, kind=kind) if kind else f"{models}."
        )
    if told.n_ctx:
        sentences.append(say("{n} tokens for each conversation.", n=f"{told.n_ctx:,}"))
    if told.n_slots:
        sentences.append(say("It answers {n} at the same time.", n=told.n_slots))
    return sentences


def _seen_of(one: Backend) -> list[str]:
    """What was seen of its answers."""
    now = one.engine.in_flight.as_json()
    sentences = [
        say("Answered now: {answering}; waiting: {waiting}.", **now),
        say(
            "Whole answers: {n}; failed: {errors}.",
            n=one.engine.in_flight.n_answered,
            errors=one.n_failed,
        ),
    ]
    if (mean_s := one.engine.in_flight.mean_s) is not None:
        sentences.append(say("The latest took {s:.2g} s in the mean.", s=mean_s))
    if one.state == "lost":
        sentences.append(say("Why it is lost: {reason}.", reason=one.why_lost))
    return sentences


def privacy_cards_of(what: Elsewhere) -> list[Card]:
    """Who reads the prompts, and the facts that every server has."""
    every = [one.address for one in what.backends.all]
    label = say("Who reads the prompts")
    if not what.leave:
        note = say(
            "Prompts go to {urls}, on this machine; where a tunnel leads from there, hakaru does "
            "not see.",
            urls=listed(one.url for one in every),
        )
        return [Card(label=label, value=say("this machine"), note=note), *privacy_cards(())]
    notes = [say("Prompts leave this machine: they go to {urls}.", urls=listed(what.leave))]
    if bare := [one.url for one in every if not (one.is_local or one.tls)]:
        notes.append(say("Nothing is encrypted on the way to {urls}.", urls=listed(bare)))
    reads = Card(label=label, value=say("other machines"), note=together(notes), kind="bad")
    return [reads, *privacy_cards(())]
