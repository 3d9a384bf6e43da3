"""`hakaru chat`: talk in the terminal, to the server that runs or to a model that is loaded."""

import os
import select
import stat
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx

from hakaru.choosing.evidence import last_choice
from hakaru.cli.called import given
from hakaru.cli.next_steps import english_only
from hakaru.cli.options import ContextOptions, HandOptions
from hakaru.cli.output import print_aside
from hakaru.cli.slash_commands import COMMANDS, Talk
from hakaru.cli.talking import answer_once, talk_on
from hakaru.cli.terminal import terminal_session
from hakaru.cli.typed_lines import AtTerminal, Piped, Typing
from hakaru.engine.mode_of import needs_text
from hakaru.errors import Interrupted, Misuse
from hakaru.language import listed, say
from hakaru.models.embedded import embedded_model, is_english_only
from hakaru.models.model import Model
from hakaru.models.sources.find import whole_model
from hakaru.places import data_dir
from hakaru.servers import Deployment, running
from hakaru.servers.asking import client_of
from hakaru.serving.conversation import Conversation
from hakaru.serving.serve import serve

HISTORY: Final = "HAKARU_CHAT_HISTORY"
"""The environment variable that, set to 0, keeps nothing of what is typed."""
WAITS_S: Final = 2.0
"""After so long it is said that a pipe is waited for."""
AT_LOAD: Final = (
    "--context", "--ubatch", "--cache-type-k", "--cache-type-v", "--parallel", "--threads",
    "--gpu-layers", "--draft", "--mmproj", "--memory", "--chat-template", "--private",
)  # fmt: skip
"""Options that say how a model is loaded: too late for one that is served already."""


@dataclass(frozen=True, kw_only=True)
class ChatOptions(ContextOptions, HandOptions):
    """`hakaru chat`."""

    model: str | None
    system: str | None
    prompt: str | None
    max_tokens: int
    no_history: bool
    port: int | None
    memory: str | None
    chat_template: str | None
    private: bool | None


def run(options: ChatOptions) -> int:
    """Talk to the server that runs, or start an engine for `model` (the last decision, else the
    embedded model) and talk to it. Returns 3 if the model does not fit.
    """
    model, port = options.model, options.port
    served = [d for d in running() if port in (None, d.port)]
    if model is None and served:
        _refuse_options_of_loading(served[0])
        return _talk_to(served[0], options)
    if port is not None and model is None:
        raise Misuse(
            "no hakaru server runs at port {port}; start one with: hakaru serve MODEL.gguf "
            "--port {port}",
            port=port,
        )
    named = _model(model)
    needs_text(named, "chat")
    session = terminal_session(aside=True, keeps=False)
    served_so = serve(
        named,
        memory=options.memory,
        chat_template=options.chat_template,
        private=options.private,
        by_hand=options.by_hand(),
        session=session,
        **options.as_context(),
    )
    try:
        with served_so as serving:
            return _talk_to(serving.deployment, options)
    except Interrupted as stop:  # while it was loaded; whoever chats asked for no server
        raise KeyboardInterrupt from stop


def _model(named: str | None) -> Model:
    """The model that is named, else the one of the last decision, else the one that comes with
    hakaru. What nobody named is said.
    """
    if named is not None:
        return whole_model(named)
    chosen = last_choice()
    model = whole_model(chosen or embedded_model())
    if chosen:
        print_aside(say("No server runs: loading {path}, the last choice here.", path=model.path))
    else:
        print_aside(
            say("No server runs: loading {path}, which comes with hakaru.", path=model.path.name)
        )
    return model


def _refuse_options_of_loading(server: Deployment) -> None:
    late = [option for option in given() if option in AT_LOAD]
    if late:
        raise Misuse(
            "{options}: says how a model is loaded, but {model} is served already at port {port}; "
            "name a model to load another one.",
            options=listed(late),
            model=server.model,
            port=server.port,
        )


def _talk_to(server: Deployment, options: ChatOptions) -> int:
    with client_of(server, within_s=None) as client:
        conversation = Conversation(
            client,
            server.model,
            options.system,
            max_tokens=options.max_tokens,
            sampling=_sampling(options),
        )
        talk = _opened(conversation, server)
        if options.prompt is not None:
            answer_once(talk, _with_pipe(options.prompt))
            return 0
        talk_on(talk, _typing(talk, options, Path(server.path)))
        if sys.stdin.isatty():
            print(file=sys.stderr)
    return 0


def _opened(conversation: Conversation, server: Deployment) -> Talk:
    """The conversation, with what the server tells of itself, if it does."""
    talk = Talk(
        conversation=conversation,
        where=say("{model} at {url}: {path}", model=server.model, url=server.url, path=server.path),
    )
    with suppress(httpx.HTTPError, ValueError, AttributeError):
        told = conversation.client.get(f"{server.url.removesuffix('/v1')}/props").json()
        talk.n_ctx = told.get("default_generation_settings", {}).get("n_ctx")
        talk.sees = bool(told.get("modalities", {}).get("vision"))
    return talk


def _typing(talk: Talk, options: ChatOptions, path: Path) -> Typing:
    """Where questions come from; a person at a terminal is greeted."""
    if not sys.stdin.isatty():
        return Piped(sys.stdin.read)
    print_aside(
        say(
            "{model}. Ctrl-C stops an answer, Ctrl-D ends, /help lists more.",
            model=talk.conversation.model,
        )
    )
    if is_english_only(path):
        print_aside(english_only("hakaru chat MODEL.gguf"))
    if not options.no_history and os.environ.get(HISTORY) != "0":
        talk.history = data_dir() / "chat-history"
        if not talk.history.exists():
            print_aside(
                say(
                    "What you type is kept for the arrow keys in {path}, for you alone; answers "
                    "are not. With --no-history nothing is kept, and /forget removes it.",
                    path=talk.history,
                )
            )
    return AtTerminal(talk.history, (f"/{name}" for name in COMMANDS))


def _with_pipe(prompt: str) -> str:
    """The question of `--prompt`, behind the text that a pipe or a file at stdin has: models read a
    long text first, and then what to do with it.
    """
    try:
        kind = os.fstat(sys.stdin.fileno()).st_mode
    except (OSError, ValueError):  # there is no stdin
        return prompt
    if not (stat.S_ISFIFO(kind) or stat.S_ISREG(kind)):
        return prompt
    if not select.select([sys.stdin], [], [], WAITS_S)[0]:
        print_aside(say("Waiting for the text at stdin; without one: < /dev/null"))
    text = sys.stdin.read().strip("\n")
    return f"{text}\n\n{prompt}" if text.strip() else prompt


def _sampling(options: ChatOptions) -> dict[str, float]:
    """What the options say of choosing tokens, by the names of a request."""
    named = options.by_hand().sampling.as_json()
    return {("temperature" if name == "temp" else name): value for name, value in named.items()}
