"""What if: what a model would take at other settings, of the served ones or of the catalogue.

A plan is arithmetic, made for one reader at a time; the memory is what would be free if nothing of
this server were loaded, which another load would find again.
"""

import threading
from collections.abc import Callable, Mapping
from typing import Any, Final

from msgspec import Struct
from starlette.requests import Request
from starlette.routing import Route

from hakaru.engine.lab import Lab
from hakaru.engine.mode import Mode
from hakaru.errors import Misuse
from hakaru.formats.quant_types import CACHE_TYPES
from hakaru.hardware.machine import Machine
from hakaru.language import say, spell_fields, together
from hakaru.ledger import Ledger
from hakaru.memory.context import any_settings_for
from hakaru.memory.settings import ContextSettings
from hakaru.models.by_id import entry_called
from hakaru.models.model import Model, read_model
from hakaru.models.own_catalogue import all_models
from hakaru.models.presets import FTYPES, NEEDS_IMPORTANCE, USUAL
from hakaru.models.sources.find import find_model
from hakaru.models.spoken_type import spoken_type
from hakaru.planning.answer import Fit
from hakaru.planning.fit_at import fit_at
from hakaru.planning.sentences import verdict_sentences
from hakaru.planning.ways_out import in_words
from hakaru.planning.with_speculation import beside_for, checking
from hakaru.web.devices_chart import devices_chart
from hakaru.web.lineup import Lineup, Served
from hakaru.web.pasted import options, shell_path
from hakaru.web.shared import piece

USUAL_PRESET: Final = USUAL[4]
"""At which a model of the catalogue is planned where no type is named."""


def what_if_part(lineup: Lineup) -> dict[str, Any]:
    """What the template shows, in the language in use."""
    first = lineup.named(None)
    return {
        "title": say("What if"),
        "text": say(
            "What a model would take at other settings, a served one or any of the catalogue, "
            "beside what would be free if nothing of this server were loaded. Nothing is changed, "
            "and nothing is fetched."
        ),
        "labels": _labels(),
        "as_it_is": say("as it is"),
        "settings": first.settings,
        "name": first.name,
        "names": [*(one.name for one in lineup.now()), *(entry.id for entry in all_models())],
        "presets": (*FTYPES, *NEEDS_IMPORTANCE),
        "caches": CACHE_TYPES,
        "ask": say("Work it out"),
        "waiting": say("Planning …"),
    }


def _labels() -> dict[str, str]:
    return {
        "model": say("Model"),
        "preset": say("Type of the weights"),
        "n_ctx": say("Context, tokens"),
        "type_k": say("Type of the KV cache"),
        "n_parallel": say("Conversations at the same time"),
    }


class Question(Struct, frozen=True, kw_only=True):
    """A plan that is asked for."""

    model: Model
    settings: ContextSettings
    preset: str | None  # None: the types of its file
    served: Served | None  # None: a model of the catalogue


def question_in(query: Mapping[str, str], lineup: Lineup) -> Question:
    """The question of a form; what it does not name is as the first model is served. Raises Misuse
    and ModelNotFound.
    """
    name, names = query.get("model", ""), [one.name for one in lineup.now()]
    served = lineup.named(name) if name in ("", *names) else None
    preset = query.get("preset") or (None if served else USUAL_PRESET)
    model = served.model if served else read_model(find_model(entry_called(name).id).path)
    usual = (served or lineup.named(None)).settings
    cache = query.get("cache", usual.type_k)
    settings = any_settings_for(
        model,
        kv_unified=usual.kv_unified,
        n_ctx=_number(query, "n_ctx", usual.n_ctx),
        n_ubatch=usual.n_ubatch,
        type_k=cache,
        type_v=cache,
        n_parallel=_number(query, "n_parallel", usual.n_parallel),
    )
    return Question(model=model, settings=settings, preset=preset, served=served)


def what_if(question: Question, machine: Machine) -> Fit:
    """The plan on a machine. Raises what `fit_at` raises."""
    model, mode = question.model, question.served.mode if question.served else Mode()
    ledger = Ledger(keeps=False)
    try:
        return fit_at(
            model,
            checking(question.settings, mode.speculation),
            machine=machine,
            ledger=ledger,
            engine=Lab(),
            source="computed",
            find_max=True,
            preset=question.preset,
            beside=beside_for(model, mode, machine),
            n_gpu_layers=mode.named_gpu_layers,
        )
    finally:
        ledger.close()


def plan_route(lineup: Lineup, runnable: Callable[[str], str]) -> Route:
    """The route of a plan."""
    planning = threading.Lock()

    def plan(request: Request) -> dict[str, Any]:
        spell_fields(_labels())
        with planning:
            return _plan_told(question_in(request.query_params, lineup), lineup, runnable)

    return Route("/machine/plan", piece("machine_plan.html", plan))


def _number(query: Mapping[str, str], name: str, default: int) -> int:
    text = query.get(name, str(default))
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise Misuse("{name} is '{found}', expected a whole number.", name=f"`{name}`", found=text)
    return int(text)


def _plan_told(
    question: Question, lineup: Lineup, runnable: Callable[[str], str]
) -> dict[str, Any]:
    fit = what_if(question, lineup.free())
    told = [
        say("{model}, {type}.", model=fit.model.path.stem, type=spoken_type(fit.model)),
        *verdict_sentences(fit.placement, fit.margin.fraction),
    ]
    if fit.max_context:
        told.append(say("It fits up to {n} tokens of context.", n=f"{fit.max_context:,}"))
    if fit.verdict == "does_not_fit":
        told.append(say("Ways out: {ways}.", ways=in_words(fit.alternatives)))
    label, command = _command(question)
    return {
        "said": together(told[:2]),
        "sentences": told,
        "memory": devices_chart(fit.placement),
        "command": runnable(command),
        "command_label": label,
    }


def _command(question: Question) -> tuple[str, str]:
    """What makes it so, and how a terminal is told."""
    model, preset = question.model, question.preset
    if question.served is None:
        return say("To fetch it:"), f"hakaru pull {model.path.stem}:{preset}"
    if preset:
        return say("To make it:"), f"hakaru quantize {shell_path(model)} --type {preset}"
    serve = f"hakaru serve {shell_path(model)}{options(model, question.settings)}"
    return say("To serve it so:"), serve
