"""The part "Models" of the page: which models this machine could run for a task, as a picture and a
table, with the command that fetches each.

The page asks its own server when the part comes into view, and the server asks `selection.choose`,
which takes about a second: in a thread, one question at a time, and the answer is kept for a while.
The memory is what was free before the served model was loaded, since another would take its place.
Without scripts the part is a page of its own, at /models.
"""

import os
import threading
from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import BaseRoute, Route

from hakaru.errors import HakaruError
from hakaru.hardware.machine import Machine
from hakaru.language import LANGUAGES, current_language, language_name, say, use_language
from hakaru.ledger import Ledger
from hakaru.models.benchmarks import TASKS
from hakaru.pictures import page_file
from hakaru.session import Session
from hakaru.web.shared import copy_words, headers, language_of, own_pages_only

if TYPE_CHECKING:
    from hakaru.selection.chosen import Chosen

HEADERS: Final = headers(scripts="'self'", asks="'self'")
SCRIPTS: Final = ("/copy.js",)
MODULES: Final = ("/ask.js",)
KEPT_S: Final = 600.0
"""So long an answer is kept. Free memory changes, but nobody chooses a model by the minute."""

Question = tuple[str, str, str]
"""The task, its language, and the language of the answer."""
Ask = Callable[[str, str], "Chosen"]
"""What answers a task in a language."""


class RowTold(Struct, frozen=True, kw_only=True):
    """A row of the table."""

    model: str
    type: str
    memory: str
    speed: str
    interval: str
    score: str
    why: str
    name: str  # by which it is fetched
    command: str
    fetch: str  # what the command does


class Questions:
    """Answers, one worked out at a time, each kept for KEPT_S."""

    def __init__(self, ask: Ask) -> None:
        self._ask, self._lock = ask, threading.Lock()
        self._kept: dict[Question, tuple[float, Chosen]] = {}

    def answer(self, task: str, language: str) -> "Chosen":
        """The answer, in the language in use. Raises what `choose` raises."""
        question = task, language, current_language()
        with self._lock:
            at, chosen = self._kept.get(question, (0.0, None))
            if chosen is None or monotonic() - at > KEPT_S:
                chosen = self._ask(task, language)
                self._kept[question] = monotonic(), chosen
            return chosen


def ask_here(machine: Machine) -> Ask:
    """What answers for the machine on which this server is, as if it served nothing."""

    def ask(task: str, language: str) -> "Chosen":
        from hakaru.selection.choose import choose  # no server waits for it

        ledger = Ledger(keeps=False)
        try:
            return choose(
                task,  # type: ignore[arg-type]  # another text is refused
                language=language,
                session=Session(machine=machine, ledger=ledger),
                instead_of=os.getpid(),
            )
        finally:
            ledger.close()

    return ask


def models_routes(
    ask: Ask, runnable: Callable[[str], str], *, can_fetch: bool = False
) -> list[BaseRoute]:
    """The routes of the part: a page, and its rows alone, for the script, with a button in each row
    if a row `can_fetch`.
    """
    questions = Questions(ask)

    def respond(request: Request, template: str) -> Response:  # in a thread: it computes
        use_language(language_of(request))
        task = request.query_params.get("task", TASKS[0])
        language = request.query_params.get("language", current_language())
        status, answer = 200, dict[str, Any]()
        try:
            answer = answer_told(questions.answer(task, language), runnable)
        except HakaruError as error:
            status, answer = 400 if error.exit_code == 2 else 500, {"sentences": [str(error)]}
        page = page_file.render(
            template,
            title=say("Models"),
            back=say("Back"),
            scripts=SCRIPTS,
            modules=MODULES,
            models=models_part(task, language),
            answer=answer,
            can_fetch=can_fetch and template == "models_rows.html",
            fetch_label=say("Fetch"),
            failed=say("The server gave no answer."),
            **copy_words(),
        )
        return HTMLResponse(page, status, headers=HEADERS)

    return [
        Route("/models", lambda request: respond(request, "models.html")),
        Route("/models/rows", own_pages_only(lambda request: respond(request, "models_rows.html"))),
    ]


def models_part(task: str, language: str) -> dict[str, Any]:
    """The words of the part, and the question that stands in its form."""
    return {
        "title": say("Models for this machine"),
        "task_label": say("Task"),
        "language_label": say("Language"),
        "tasks": TASKS,
        "languages": [(code, language_name(code)) for code in LANGUAGES],
        "task": task,
        "language": language,
        "show": say("Show"),
        "waiting": say("Looking through the catalogue …"),
    }


def answer_told(chosen: "Chosen", runnable: Callable[[str], str]) -> dict[str, Any]:
    """The answer as the template shows it, in the language in use."""
    from hakaru.selection.told import asked_lines, machine_lines, recommended_lines

    conditions = chosen.conditions
    told: dict[str, Any] = {
        "sentences": [
            *asked_lines(conditions),
            *machine_lines(chosen.hardware),
            say("Usable is what was free before this model was loaded, whose place another takes."),
        ],
        "command": runnable(
            f"hakaru choose --task {conditions.task} --language {conditions.language}"
        ),
        "more": say("The same in a terminal, where everything can be asked for:"),
    }
    if not chosen.rows:
        nothing = say("No model meets every condition.")
        return told | {"said": nothing, "sentences": [*told["sentences"], nothing]}
    recommended = recommended_lines(chosen)
    return told | {
        "said": recommended[0],
        "sentences": [*told["sentences"], *recommended],
        **_picture(chosen),
        "head": [say("model"), say("memory"), say("tokens/s"), say("score")],
        "rows": [_row(i, chosen, runnable) for i in range(len(chosen.rows))],
    }


def _picture(chosen: "Chosen") -> dict[str, Any]:
    from hakaru.pictures.choice_layout import choice_layout, notes
    from hakaru.pictures.choice_picture import title
    from hakaru.pictures.plane import NARROW

    large = choice_layout(chosen)
    return {
        "large": large,
        "small": choice_layout(chosen, width=NARROW),
        "notes": notes(large),
        "picture": title(chosen),
    }


def _row(i: int, chosen: "Chosen", runnable: Callable[[str], str]) -> RowTold:
    from hakaru.pictures.marks import type_of
    from hakaru.selection.told import interval_text, memory_forms, speed_text
    from hakaru.selection.why import why_parts
    from hakaru.units import format_bytes

    row = chosen.rows[i]
    is_first = row is chosen.recommended
    parts = [say("recommended")] if is_first else why_parts(row, chosen.search)
    if row.first_token_s is not None:
        parts.append(say("first word after {n:.1f} s", n=row.first_token_s))
    parts.append(say("up to {n:,} tokens of context", n=row.longest()))
    parts.append(say("download {bytes}", bytes=format_bytes(row.sized.file_bytes)))
    licence = (row.model.license or "").removeprefix("LicenseRef-")
    parts.append(licence or say("licence not known"))
    return RowTold(
        model=row.model.id,
        type=type_of(row),
        memory=memory_forms(row)[1],
        speed=speed_text(row.pace),
        interval=interval_text(row.pace),
        score=f"{row.published.value:g}" if row.published else "-",
        why=say("; ").join(parts),
        name=f"{row.model.id}:{row.type}",
        command=runnable(f"hakaru pull {row.model.id}:{row.type}"),
        fetch=say("Fetch {model}", model=row.model.id),
    )
