"""The page at the server's root, in the reader's language: a chat, the machine, which models it
could run, what was measured of those that are served, what listens, and how to call them. Each is a
tab with an address of its own, such as /#machine.

Nothing comes from elsewhere: the content security policy allows the page's own style sheet, its own
scripts, and questions to its own server. Without the scripts it is one long page, a reader marks
what is to be copied, and the models have a page of their own. The language is the one of `?lang=`,
or the browser's first choice.

Where the server demands a key, the address has a page that asks for it, and everything that tells
of this server comes after the key. The scripts and the style sheet are those of every server.
"""

from collections.abc import Callable
from typing import Final

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import BaseRoute, Route

from hakaru.language import current_language, say, use_language
from hakaru.pictures import page_file
from hakaru.serving.callers import OpenRoute, key_in, without_key
from hakaru.serving.serve_at import Loaded
from hakaru.serving.serve_several import Several
from hakaru.web.api_tab import api_part
from hakaru.web.chat_tab import SCRIPTS as CHAT_PARTS
from hakaru.web.chat_tab import chat_part
from hakaru.web.fetching import Fetching
from hakaru.web.fetching_routes import fetching_part, fetching_routes
from hakaru.web.key_page import KEY_SCRIPT, key_page, other_language
from hakaru.web.lineup import Lineup, lineup_of
from hakaru.web.machine_tab import machine_part, machine_routes
from hakaru.web.measured_tab import candidates_part, candidates_route
from hakaru.web.privacy_tab import privacy_part, privacy_routes
from hakaru.web.shared import copy_words, language_of, piece, script, style
from hakaru.web.which_model import HEADERS, ask_here, models_part, models_routes

Runnable = Callable[[str], str]
"""A command of hakaru, as a shell on this machine finds it from any folder."""
PAGE_SCRIPTS: Final = ("/copy.js", "/tabs.js")
PAGE_MODULES: Final = ("/ask.js", "/live.js")
FETCH_SCRIPT: Final = "/fetch.js"
CHAT_SCRIPT: Final = "/chat.js"
FILES: Final = (
    *PAGE_SCRIPTS, *PAGE_MODULES, FETCH_SCRIPT, CHAT_SCRIPT, *CHAT_PARTS, KEY_SCRIPT, "/call.js",
)  # fmt: skip


def page_routes(what: Loaded | Several, *, runnable: Runnable = str) -> list[BaseRoute]:
    """The routes of the page, for the gateway in front of what is served."""
    lineup = lineup_of(what)
    can_fetch = lineup.is_local
    fetching = fetching_routes(lineup, Fetching(lineup.machine), runnable) if can_fetch else []

    def page(request: Request) -> Response:  # in a thread: it reads files
        use_language(language_of(request))
        key = key_in(request)
        if not lineup.entrance.lets_in(key):
            return HTMLResponse(key_page(), headers=HEADERS) if key is None else without_key()
        base_url = f"{request.url.scheme}://{request.url.netloc}/v1"
        return HTMLResponse(render(lineup, base_url=base_url, runnable=runnable), headers=HEADERS)

    return [
        OpenRoute("/", page),
        OpenRoute("/page.css", style),
        *(OpenRoute(path, script) for path in FILES),
        Route("/state", piece("state.html", lambda _: _state(lineup))),
        *machine_routes(lineup, runnable),
        candidates_route(lineup, runnable),
        *privacy_routes(lineup),
        *models_routes(ask_here(lineup.machine), runnable, can_fetch=can_fetch),
        *fetching,
    ]


def render(lineup: Lineup, *, base_url: str, runnable: Runnable = str) -> str:
    """The page as HTML, in the language in use."""
    models = lineup.now()
    chats = any(one.mode.gives == "text" for one in models)
    title = say("{n} models", n=len(models)) if lineup.are_several else models[0].model.path.name
    return page_file.render(
        "serving.html",
        title=title,
        scripts=PAGE_SCRIPTS,
        **other_language(),
        **_state(lineup),
        parts_label=say("Parts of this page"),
        parts=[
            *([("chat", say("Chat"))] if chats else []),
            ("machine", say("Machine")), ("models", say("Models")),
            ("candidates", say("Candidates")), ("privacy", say("Privacy")), ("api", say("API")),
        ],
        failed=say("The server gave no answer."),
        modules=[
            *PAGE_MODULES,
            *([CHAT_SCRIPT] if chats else []),
            *([FETCH_SCRIPT] if lineup.is_local else []),
        ],
        fetching=fetching_part() if lineup.is_local else None,
        chat=chat_part(lineup),
        machine=machine_part(lineup),
        models=models_part("chat", current_language()),
        candidates=candidates_part(lineup, runnable),
        privacy=privacy_part(lineup),
        api=api_part(lineup, base_url, runnable),
        **copy_words(),
    )  # fmt: skip


def _state(lineup: Lineup) -> dict[str, str]:
    """The state of the whole server."""
    models = lineup.now()
    if lineup.are_several:
        n = sum(one.loaded is not None for one in models)
        told = say("{n} of {all} models are loaded", n=n, all=len(models))
        return {"state": "ready", "state_told": told}
    state = models[0].state
    words = {"ready": say("ready"), "loading": say("loading")}
    return {"state": state, "state_told": words.get(state, say("stopped"))}
