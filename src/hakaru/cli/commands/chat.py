"""`hakaru chat`: talk in the terminal. Ctrl-C stops an answer; Ctrl-C or Ctrl-D at the prompt ends
the conversation. An answer that never ends by itself, as small models give them, is stopped after
`--max-tokens`; `/more` goes on with it.
"""

import sys
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx

from hakaru.choosing.evidence import last_choice
from hakaru.cli.options import HandOptions
from hakaru.cli.output import print_aside, warn
from hakaru.cli.terminal import terminal_session
from hakaru.cli.words import english_only
from hakaru.engine.mode_of import needs_text
from hakaru.errors import EngineRefused, Interrupted, Misuse, Terminated
from hakaru.language import say
from hakaru.models.embedded import embedded_model, is_english_only
from hakaru.models.sources.find import whole_model
from hakaru.servers import Deployment, running
from hakaru.serving.conversation import Conversation
from hakaru.serving.serve import serve


@dataclass(frozen=True, kw_only=True)
class ChatOptions(HandOptions):
    """`hakaru chat`."""

    model: str | None
    system: str | None
    prompt: str | None
    max_tokens: int
    port: int | None
    memory: str | None
    chat_template: str | None
    private: bool | None


MORE: Final = "/more"
"""What a person types to have a cut answer continued."""


def run(options: ChatOptions) -> int:
    """Talk to the server that runs, or start an engine for `model` (the last decision, else the
    embedded model) and talk to it. Returns 3 if the model does not fit.
    """
    model, port = options.model, options.port
    served = [d for d in running() if port in (None, d.port)]
    if model is None and served:
        return _talk_to(served[0], options)
    if port is not None and model is None:
        raise Misuse(
            "no hakaru server runs at port {port}; start one with: hakaru serve MODEL.gguf "
            "--port {port}",
            port=port,
        )
    named = whole_model(model or last_choice() or embedded_model())
    needs_text(named, "chat")
    session = terminal_session(aside=True, keeps=False)
    served_so = serve(
        named,
        memory=options.memory,
        chat_template=options.chat_template,
        private=options.private,
        by_hand=options.by_hand(),
        session=session,
    )
    try:
        with served_so as serving:
            return _talk_to(serving.deployment, options)
    except Interrupted as stop:  # while it was loaded; whoever chats asked for no server
        raise KeyboardInterrupt from stop


def _talk_to(server: Deployment, options: ChatOptions) -> int:
    with httpx.Client(base_url=f"{server.url}/", timeout=None) as client:
        conversation = Conversation(
            client, server.model, options.system, max_tokens=options.max_tokens
        )
        return _talk(conversation, options.prompt, is_english=is_english_only(Path(server.path)))


def _talk(conversation: Conversation, prompt: str | None, *, is_english: bool = False) -> int:
    if prompt is not None:
        _answer(conversation, prompt, is_last=True)
        return 0
    with suppress(ImportError):
        import readline  # noqa: F401 -- line editing and history for input()
    if sys.stdin.isatty():
        print(
            say("{model}. Ctrl-C stops an answer, Ctrl-D ends.", model=conversation.model),
            file=sys.stderr,
        )
        if is_english:
            print_aside(english_only("hakaru chat MODEL.gguf"))
    while True:
        try:
            text = input("> " if sys.stdin.isatty() else "")
        except Terminated:
            raise
        except (EOFError, KeyboardInterrupt):
            print(file=sys.stderr)
            return 0
        if text.strip():
            try:
                _answer(conversation, text)
            except Terminated:
                raise
            except KeyboardInterrupt:
                continue
            except EngineRefused as error:
                warn(str(error))


def _answer(conversation: Conversation, text: str, *, is_last: bool = False) -> None:
    """Print the answer to `text`, or with MORE what follows an answer that was cut."""
    wants_more = text.strip() == MORE
    if wants_more and not conversation.goes_on:
        print(say("[no answer was cut: there is nothing to go on with]"), file=sys.stderr)
        return
    answer = conversation.more() if wants_more else conversation.ask(text)
    with closing(answer) as pieces:
        try:
            for piece in pieces:
                print(piece, end="", flush=True)
        except KeyboardInterrupt:
            print(" …")
            raise
    print()
    if conversation.is_cut:
        print(_cut(conversation, is_last=is_last), file=sys.stderr)
    if conversation.tokens_per_s:
        print(
            say(
                "({n} tokens, {rate:.1f} tokens/s)",
                n=conversation.n_tokens,
                rate=conversation.tokens_per_s,
            ),
            file=sys.stderr,
        )


def _cut(conversation: Conversation, *, is_last: bool) -> str:
    """Why an answer ended before its end, and how to read on."""
    n, limit = conversation.n_tokens, conversation.max_tokens
    if limit is None or n < limit:
        return say("[stopped: the context is full]")
    if is_last or not conversation.goes_on:  # not even begun: the model was still thinking
        return say("[stopped after {n} tokens; for more: --max-tokens {more}]", n=n, more=4 * n)
    return say(
        "[stopped after {n} tokens; /more goes on, --max-tokens {more} allows more]",
        n=n,
        more=4 * n,
    )
