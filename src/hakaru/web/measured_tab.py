"""The part "Candidates" of the page: what was measured of a model, and what the decision compared.
Of several models each has a piece of its own.
"""

from collections.abc import Callable
from typing import Any

from starlette.requests import Request
from starlette.routing import BaseRoute, Route

from hakaru.language import say
from hakaru.web.lineup import Lineup, Served
from hakaru.web.shared import piece


def candidates_part(lineup: Lineup, runnable: Callable[[str], str]) -> dict[str, Any]:
    """What the template shows, in the language in use."""
    several = {
        "label": say("Model"),
        "names": [one.name for one in lineup.now()],
        "show": say("Show"),
        "waiting": say("Looking …"),
    }
    return {
        "title": say("What was measured"),
        "of": None if lineup.are_several else candidates_of(lineup, lineup.named(None), runnable),
        "several": several,
    }


def candidates_of(lineup: Lineup, one: Served, runnable: Callable[[str], str]) -> dict[str, Any]:
    """What is told of one model, in the language in use."""
    from hakaru.web.candidates_tab import candidates_told, decision_of
    from hakaru.web.measured import cards, commands, measured_of  # numpy: no server waits for it

    measured = measured_of(one, lineup.machine)
    is_text = one.mode.gives == "text"  # no command measures others
    unknown = commands(measured, one.model, one.settings) if is_text else []
    evidence = decision_of(one.model)
    return {
        "said": one.name,
        "cards": cards(measured),
        "commands": [(sentence, runnable(command)) for sentence, command in unknown],
        "decision": candidates_told(evidence) if evidence else None,
    }


def candidates_route(lineup: Lineup, runnable: Callable[[str], str]) -> BaseRoute:
    """The route of the piece."""

    def of(request: Request) -> dict[str, Any]:
        one = lineup.named(request.query_params.get("model"))
        return {"of": candidates_of(lineup, one, runnable)}

    return Route("/candidates/of", piece("candidates_of.html", of))
