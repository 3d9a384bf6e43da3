"""Has a model answer tasks, greedily and through the server.

Answers are streamed, so that a slow model is waited for as long as its tokens come. The ledger
remembers each answer as it comes, so that whoever interrupts a test loses none.
"""

import subprocess
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any, Final, NamedTuple

import httpx

from hakaru.engine.builds import server_build
from hakaru.engine.events import events
from hakaru.engine.mode import Mode
from hakaru.engine.server import EngineServer
from hakaru.errors import EngineError, EngineRefused
from hakaru.evaluation.grading import Graded, grade
from hakaru.evaluation.served import served
from hakaru.evaluation.tasks import Item
from hakaru.language import say
from hakaru.ledger import Ledger
from hakaru.memory.settings import ContextSettings
from hakaru.models.model import Model
from hakaru.session import Session

KIND: Final = "answers with their ends"
"""The kind of answers in the ledger."""
ANSWERED_ON: Final = "answered on"
"""The kind of records that tell on which other machine an answer was given; an answer of this
machine has none.
"""
CHOICE_TOKENS: Final = 2
"""Tokens of an answer that a grammar limits to one letter."""
TOKEN_WITHIN_S: Final = 600.0
"""Seconds without a token after which a server is not waited for."""


class Answer(NamedTuple):
    """What a model answered to one task."""

    text: str
    is_cut: bool  # the tokens ended before the answer did


@contextmanager
def asking(server: EngineServer, *, thinks: bool = True) -> Iterator[Callable[[Item], Answer]]:
    """What asks a running server for its greedy answer to an item. Items are asked one after the
    other, because answers that are computed side by side may differ by rounding. Raises
    EngineRefused.
    """
    with server.client(timeout=TOKEN_WITHIN_S) as client:
        yield partial(_asked, server, client, thinks=thinks)


def graded_answers(
    session: Session,
    model: Model,
    items: Sequence[Item],
    settings: ContextSettings,
    mode: Mode | None = None,
    *,
    name: str = "",
) -> list[Graded]:
    """The greedy answers of `model` to the items, through the server, graded.

    The ledger remembers the answers. `mode` has the chat template; `name` is what progress calls
    the model.
    """
    if not items:
        return []
    known = known_answers(
        session, session.ledger.model_sha256(model), items, settings, mode or Mode()
    )
    return known or list(each_answer(session, model, items, settings, mode, name=name))


def each_answer(
    session: Session,
    model: Model,
    items: Sequence[Item],
    settings: ContextSettings,
    mode: Mode | None = None,
    *,
    name: str = "",
    thinks: bool = True,
) -> Generator[Graded]:
    """The same, one after the other as they come: whoever has heard enough hears no more.

    The server is started for the first answer that the ledger does not have. `thinks` False asks
    models that can think before they answer not to.
    """
    mode, sha256 = mode or Mode(), session.ledger.model_sha256(model)
    progress = partial(session.watch, say("tasks answered by {name}", name=name or model.path.stem))
    progress(0, len(items))  # the model is loaded before it answers
    with ExitStack() as stack:
        ask = None
        for done, item in enumerate(items, start=1):
            key = answer_key(sha256, [item], settings, mode, thinks=thinks)
            known = session.ledger.recall(*key)
            if known is None:
                if ask is None:
                    server = stack.enter_context(served(session, model, settings, mode))
                    ask = stack.enter_context(asking(server, thinks=thinks))
                known = [ask(item)]
                session.ledger.remember(*key, known)
            progress(done, len(items))
            yield _graded([item], known)[0]


def known_answers(
    session: Session, sha256: str, items: Sequence[Item], settings: ContextSettings, mode: Mode
) -> list[Graded] | None:
    """What `graded_answers` would recall of the file with this hash; None where it would ask."""
    answers = session.ledger.recall(*answer_key(sha256, items, settings, mode))
    if answers is None:  # each may be there by itself
        each = [session.ledger.recall(*answer_key(sha256, [i], settings, mode)) for i in items]
        answers = [known[0] for known in each if known]
    return _graded(items, answers) if len(answers) == len(items) else None


def answer_key(
    sha256: str,
    items: Sequence[Item],
    settings: ContextSettings,
    mode: Mode,
    *,
    thinks: bool = True,
) -> tuple[str, dict[str, object]]:
    """Kind and inputs by which the ledger knows the answers of the model with this hash. Which
    machine gave them is no part of it: the same build computes the same.
    """
    return KIND, {
        "model": sha256,
        "engine": server_build(),
        "settings": settings.as_json(),
        "items": [[i.prompt, i.max_tokens, i.check.letters] for i in items],
        **mode.as_key(),
        **({} if thinks else {"thinks": False}),
    }


def keep_answer(
    ledger: Ledger, key: tuple[str, dict[str, object]], answer: Answer, *, on: dict[str, object]
) -> None:
    """Keep an answer that another machine gave, and what that machine is."""
    kind, inputs = key
    ledger.remember(kind, inputs, [answer])
    ledger.remember(ANSWERED_ON, inputs, on)


def _graded(items: Sequence[Item], answers: Sequence[Answer]) -> list[Graded]:
    return grade(items, [text for text, _ in answers], cut=[is_cut for _, is_cut in answers])


def _asked(server: EngineServer, client: httpx.Client, item: Item, *, thinks: bool) -> Answer:
    try:
        return _answer(client, item, thinks=thinks)
    except httpx.TimeoutException as error:
        raise EngineRefused(
            "the engine's server gave no token of its answer to the task '{id}' within "
            "{seconds:.0f} s and was ended; shorten the prompt, "
            "or choose a smaller model than {path}.",
            id=item.id,
            seconds=TOKEN_WITHIN_S,
            path=server.path,
        ) from error
    except httpx.TransportError as error:
        raise _broken(server, item, error) from error


def _answer(client: httpx.Client, item: Item, *, thinks: bool) -> Answer:
    request: dict[str, Any] = {
        "messages": [{"role": "user", "content": item.prompt}], "temperature": 0, "seed": 0,
        "cache_prompt": False, "max_tokens": item.max_tokens, "stream": True,
    }  # fmt: skip
    if item.check.letters:
        request |= {"grammar": f"root ::= [{item.check.letters}]", "max_tokens": CHOICE_TOKENS}
    if not thinks:  # a template that knows no such thing does not look at it
        request["chat_template_kwargs"] = {"enable_thinking": False}
    text, finish_reason = "", None
    with client.stream("POST", "/v1/chat/completions", json=request) as response:
        if response.status_code != 200:
            raise EngineRefused(
                "the engine's server answered {status} to the task '{id}': {text}",
                status=response.status_code,
                id=item.id,
                text=response.read().decode(errors="replace")[:200],
            )
        for event in events(response):
            for choice in event.get("choices", ()):
                text += choice.get("delta", {}).get("content") or ""
                finish_reason = choice.get("finish_reason") or finish_reason
    if finish_reason is None:
        raise EngineRefused(
            "the engine's server broke off its answer to the task '{id}' without a reason; run "
            "it again.",
            id=item.id,
        )
    return Answer(text, finish_reason == "length" and not item.check.letters)


def _broken(server: EngineServer, item: Item, error: httpx.TransportError) -> EngineError:
    """The error for a broken connection: how the server's process ended, or that it still runs."""
    try:
        server.process.wait(timeout=2)
    except subprocess.TimeoutExpired:
        return EngineRefused(
            "the engine's server broke off its answer to the task '{id}' ({reason}); run it again.",
            id=item.id,
            reason=error,
        )
    return server.death()
