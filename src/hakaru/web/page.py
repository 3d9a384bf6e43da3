"""The page at the server's root, in the reader's language: a chat, the machine, which models it
could run, what was measured of the one that is served, what listens, and how to call it. Each is a
tab with an address of its own, such as /#machine.

Nothing comes from elsewhere: the content security policy allows the page's own style sheet, its own
scripts, and questions to its own server. Without the scripts it is one long page, a reader marks
what is to be copied, and the models have a page of their own. The language is the one of `?lang=`,
or the browser's first choice.

Where the server demands a key, the address has a page that asks for it, and everything that tells
of this server comes after the key. The scripts and the style sheet are those of every server.
"""

from collections.abc import Callable
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import BaseRoute

from hakaru.language import current_language, say, together, use_language
from hakaru.pictures import page_file
from hakaru.serving.callers import OpenRoute, key_in, without_key
from hakaru.serving.entrance import Entrance
from hakaru.serving.serve_at import Loaded
from hakaru.serving.supervisor import Supervisor
from hakaru.web.chat_tab import SCRIPTS as CHAT_PARTS
from hakaru.web.chat_tab import chat_part
from hakaru.web.examples import KEY, examples
from hakaru.web.machine_tab import held_now, machine_part, machine_routes
from hakaru.web.privacy_tab import privacy_part, privacy_routes
from hakaru.web.shared import copy_words, language_of, script, style
from hakaru.web.which_model import HEADERS, ask_here, models_part, models_routes

Runnable = Callable[[str], str]
"""A command of hakaru, as a shell on this machine finds it from any folder."""
PAGE_SCRIPTS: Final = ("/copy.js", "/tabs.js")
PAGE_MODULES: Final = ("/ask.js", "/live.js")
CHAT_SCRIPT: Final = "/chat.js"
KEY_SCRIPT: Final = "/key.js"
FILES: Final = (*PAGE_SCRIPTS, *PAGE_MODULES, CHAT_SCRIPT, *CHAT_PARTS, KEY_SCRIPT, "/call.js")


def page_routes(loaded: Loaded, *, runnable: Runnable = str) -> list[BaseRoute]:
    """The routes of the page, for the gateway in front of the engine that serves `loaded`."""

    def page(request: Request) -> Response:  # in a thread: it reads files
        use_language(language_of(request))
        key = key_in(request)
        if not loaded.entrance.lets_in(key):
            return HTMLResponse(_key_page(), headers=HEADERS) if key is None else without_key()
        base_url = f"{request.url.scheme}://{request.url.netloc}/v1"
        return HTMLResponse(render(loaded, base_url=base_url, runnable=runnable), headers=HEADERS)

    return [
        OpenRoute("/", page),
        OpenRoute("/page.css", style),
        *(OpenRoute(path, script) for path in FILES),
        *machine_routes(loaded, runnable),
        *privacy_routes(loaded),
        *models_routes(ask_here(loaded), runnable),
    ]


def render(loaded: Loaded, *, base_url: str, runnable: Runnable = str) -> str:
    """The page as HTML, in the language in use."""
    supervisor = loaded.supervisor
    chats = supervisor.mode.gives == "text"
    return page_file.render(
        "serving.html",
        title=supervisor.path.name,
        scripts=PAGE_SCRIPTS,
        **_other_language(),
        state=supervisor.state,
        state_told=_state(supervisor),
        parts_label=say("Parts of this page"),
        parts=[
            *([("chat", say("Chat"))] if chats else []),
            ("machine", say("Machine")), ("models", say("Models")),
            ("candidates", say("Candidates")), ("privacy", say("Privacy")), ("api", say("API")),
        ],
        failed=say("The server gave no answer."),
        modules=[*PAGE_MODULES, *([CHAT_SCRIPT] if chats else [])],
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


def _key_page() -> str:
    """The page that asks for a key, in the language in use. It tells nothing of this server."""
    return page_file.render(
        "key.html",
        title=say("A key is needed"),
        modules=[KEY_SCRIPT],
        **_other_language(),
        text=say(
            "This server asks for a key. Whoever runs it gave you one, or makes one with hakaru "
            "key add. It is kept by this tab until it is closed, and sent to this server alone."
        ),
        no_scripts=say("Without scripts this page cannot ask for a key."),
        label=say("Key"),
        enter=say("Enter"),
        wrong=say("The server does not take this key."),
        failed=say("The server gave no answer."),
    )


def _other_language() -> dict[str, str]:
    """The language in which the page could be read, too."""
    other, name = ("en", "English") if current_language() == "ja" else ("ja", "日本語")
    return {"other": other, "other_name": name}


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
    has_key = bool(loaded.entrance.digests)
    told = examples(base_url, loaded.supervisor.mode.gives, has_key=has_key)
    return {
        "title": say("Use it"),
        "text": _who_may_use(loaded.entrance),
        "examples": [example._replace(text=runnable(example.text)) for example in told],
    }


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


def _state(supervisor: Supervisor) -> str:
    match supervisor.state:
        case "ready":
            return say("ready")
        case "loading":
            return say("loading")
        case _:
            return say("stopped")
