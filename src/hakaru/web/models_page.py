"""The page of a server with models of its own, in the reader's language: a chat, the machine, which
models it could run, what was measured of those that are served, what listens, and how to call them.
Each is a tab with an address of its own, such as /#machine.

Nothing comes from elsewhere: the content security policy allows the page's own style sheet, its own
scripts, and questions to its own server. Without the scripts it is one long page, a reader marks
what is to be copied, and the models have a page of their own. The language is the one of `?lang=`,
or the browser's first choice.
"""

from collections.abc import Callable
from functools import partial

from starlette.routing import BaseRoute, Route

from hakaru.language import current_language, say
from hakaru.serving.serve_at import Loaded
from hakaru.serving.serve_several import Several
from hakaru.web.addresses import CHAT_SCRIPT, FETCH_SCRIPT, PAGE_MODULES
from hakaru.web.api_tab import api_part
from hakaru.web.chat_tab import chat_part
from hakaru.web.fetching import Fetching
from hakaru.web.fetching_routes import fetching_part, fetching_routes
from hakaru.web.lineup import Lineup, lineup_of
from hakaru.web.machine_tab import machine_part, machine_routes
from hakaru.web.measured_tab import candidates_part, candidates_route
from hakaru.web.privacy_tab import privacy_part, privacy_routes
from hakaru.web.root_page import root_page, root_routes
from hakaru.web.shared import piece
from hakaru.web.which_model import ask_here, models_part, models_routes


def served_routes(what: Loaded | Several, runnable: Callable[[str], str]) -> list[BaseRoute]:
    """The routes of the page."""
    lineup = lineup_of(what)
    can_fetch = lineup.is_local
    fetching = fetching_routes(lineup, Fetching(lineup.machine), runnable) if can_fetch else []
    return [
        *root_routes(lineup.entrance, partial(_render, lineup, runnable)),
        Route("/state", piece("state.html", lambda _: _state(lineup))),
        *machine_routes(lineup, runnable),
        candidates_route(lineup, runnable),
        *privacy_routes(lineup),
        *models_routes(ask_here(lineup.machine), runnable, can_fetch=can_fetch),
        *fetching,
    ]


def _render(lineup: Lineup, runnable: Callable[[str], str], base_url: str) -> str:
    models = lineup.now()
    texts = [(one.name, one.settings.tokens_each) for one in models if one.mode.gives == "text"]
    return root_page(
        title=say("{n} models", n=len(models)) if lineup.are_several else models[0].model.path.name,
        **_state(lineup),
        parts=[
            *([("chat", say("Chat"))] if texts else []),
            ("machine", say("Machine")), ("models", say("Models")),
            ("candidates", say("Candidates")), ("privacy", say("Privacy")), ("api", say("API")),
        ],
        modules=[
            *PAGE_MODULES,
            *([CHAT_SCRIPT] if texts else []),
            *([FETCH_SCRIPT] if lineup.is_local else []),
        ],
        fetching=fetching_part() if lineup.is_local else None,
        chat=chat_part(texts, are_several=lineup.are_several),
        machine=machine_part(lineup),
        models=models_part("chat", current_language()),
        candidates=candidates_part(lineup, runnable),
        privacy=privacy_part(lineup),
        api=api_part(
            [(one.name, one.mode.gives) for one in models],
            lineup.entrance,
            base_url,
            runnable,
            are_several=lineup.are_several,
        ),
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
