"""The page at the server's root, in the reader's language: a chat, the machine, which models it
could run, what was measured of the one that is served, what listens, and how to call it. Each is a
tab with an address of its own, such as /#machine.

Nothing comes from elsewhere: the content security policy allows the page's own style sheet, its own
scripts, and questions to its own server. Without the scripts it is one long page, a reader marks
what is to be copied, and the models have a page of their own. The language is the one of `?lang=`,
or the browser's first choice.
"""

from collections.abc import Callable
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import BaseRoute, Route

from hakaru.language import current_language, say, use_language
from hakaru.pictures import page_file
from hakaru.serving.serve_at import Loaded
from hakaru.serving.supervisor import Supervisor
from hakaru.web.chat_tab import SCRIPTS as CHAT_PARTS
from hakaru.web.chat_tab import chat_part
from hakaru.web.examples import examples
from hakaru.web.machine_tab import held_now, machine_part, machine_routes
from hakaru.web.privacy_tab import privacy_part, privacy_routes
from hakaru.web.shared import copy_words, language_of, script, style
from hakaru.web.which_model import HEADERS, SCRIPTS, ask_here, models_part, models_routes

Runnable = Callable[[str], str]
"""A command of hakaru, as a shell on this machine finds it from any folder."""
PAGE_SCRIPTS: Final = (*SCRIPTS, "/live.js", "/tabs.js")
CHAT_SCRIPT: Final = "/chat.js"


def page_routes(loaded: Loaded, *, runnable: Runnable = str) -> list[BaseRoute]:
    """The routes of the page, for the gateway in front of the engine that serves `loaded`."""

    def page(request: Request) -> Response:  # in a thread: it reads files
        use_language(language_of(request))
        base_url = f"{request.url.scheme}://{request.url.netloc}/v1"
        return HTMLResponse(render(loaded, base_url=base_url, runnable=runnable), headers=HEADERS)

    return [
        Route("/", page),
        Route("/page.css", style),
        *(Route(path, script) for path in (*PAGE_SCRIPTS, CHAT_SCRIPT, *CHAT_PARTS)),
        *machine_routes(loaded, runnable),
        *privacy_routes(loaded),
        *models_routes(ask_here(loaded), runnable),
    ]


def render(loaded: Loaded, *, base_url: str, runnable: Runnable = str) -> str:
    """The page as HTML, in the language in use."""
    supervisor = loaded.supervisor
    chats = supervisor.mode.gives == "text"
    other, other_name = ("en", "English") if current_language() == "ja" else ("ja", "日本語")
    return page_file.render(
        "serving.html",
        title=supervisor.path.name,
        scripts=PAGE_SCRIPTS,
        other=other,
        other_name=other_name,
        state=supervisor.state,
        state_told=_state(supervisor),
        parts_label=say("Parts of this page"),
        parts=[
            *([("chat", say("Chat"))] if chats else []),
            ("machine", say("Machine")), ("models", say("Models")),
            ("candidates", say("Candidates")), ("privacy", say("Privacy")), ("api", say("API")),
        ],
        failed=say("The server gave no answer."),
        modules=[CHAT_SCRIPT] if chats else [],
        chat=chat_part(supervisor),
        machine=machine_part(loaded),
        now=held_now(supervisor),
        models=models_part("chat", current_language()),
        candidates=_measured(loaded, runnable),
        decision=_decision(loaded),
        privacy=privacy_part(loaded),
        api=_api(loaded, base_url, runnable),
        **copy_words(),
    )  # fmt: skip


def _measured(loaded: Loaded, runnable: Runnable) -> dict[str, Any]:
    from hakaru.web.measured import cards, commands, measured_of  # numpy: no server waits for it

    measured, supervisor = measured_of(loaded), loaded.supervisor
    is_text = supervisor.mode.gives == "text"  # no command measures others
    unknown = commands(measured, loaded.fit.model, supervisor.settings) if is_text else []
    return {
        "title": say("What was measured"),
        "cards": cards(measured),
        "commands": [(sentence, runnable(command)) for sentence, command in unknown],
    }


def _decision(loaded: Loaded) -> dict[str, Any] | None:
    from hakaru.web.candidates_tab import candidates_told, decision_of  # numpy, as above

    evidence = decision_of(loaded.fit.model)
    return candidates_told(evidence) if evidence else None


def _api(loaded: Loaded, base_url: str, runnable: Runnable) -> dict[str, Any]:
    told = examples(base_url, loaded.supervisor.mode.gives)
    return {
        "title": say("Use it"),
        "text": say(
            "Any OpenAI client works with this address; no key is needed. The server listens on "
            "this machine only."
        ),
        "examples": [example._replace(text=runnable(example.text)) for example in told],
    }


def _state(supervisor: Supervisor) -> str:
    match supervisor.state:
        case "ready":
            return say("ready")
        case "loading":
            return say("loading")
        case _:
            return say("stopped")
