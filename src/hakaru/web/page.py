"""The page at the server's root: the model that runs, what was measured of it, its memory, and how
to call it, in the reader's language.

Nothing comes from elsewhere: the content security policy allows the page's own style sheet, its own
scripts for the buttons that copy and for the models, and questions to its own server. Without the
scripts a reader marks the text, and the models have a page of their own. The language is the one of
`?lang=`, or the browser's first choice.
"""

from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import BaseRoute, Route

from hakaru.hardware.machine import Machine
from hakaru.language import current_language, say, use_language
from hakaru.pictures import page_file
from hakaru.serving.serve_at import Loaded
from hakaru.serving.supervisor import Supervisor
from hakaru.units import format_bytes
from hakaru.web.examples import examples
from hakaru.web.memory_rows import memory_of
from hakaru.web.shared import copy_words, language_of, script, style
from hakaru.web.which_model import HEADERS, SCRIPTS, ask_here, models_part, models_routes

Runnable = Callable[[str], str]
"""A command of hakaru, as a shell on this machine finds it from any folder."""


def page_routes(loaded: Loaded, *, runnable: Runnable = str) -> list[BaseRoute]:
    """The routes of the page, for the gateway in front of the engine that serves `loaded`."""

    def page(request: Request) -> Response:  # in a thread: it reads files
        use_language(language_of(request))
        base_url = f"{request.url.scheme}://{request.url.netloc}/v1"
        return HTMLResponse(render(loaded, base_url=base_url, runnable=runnable), headers=HEADERS)

    return [
        Route("/", page),
        Route("/page.css", style),
        *(Route(path, script) for path in SCRIPTS),
        *models_routes(ask_here(loaded), runnable),
    ]


def render(loaded: Loaded, *, base_url: str, runnable: Runnable = str) -> str:
    """The page as HTML, in the language in use."""
    from hakaru.web.measured import cards, commands, measured_of  # numpy: no server waits for it

    supervisor, measured = loaded.supervisor, measured_of(loaded)
    is_text = supervisor.mode.gives == "text"  # no command measures others
    unknown = commands(measured, loaded.fit.model, supervisor.settings) if is_text else []
    other, other_name = ("en", "English") if current_language() == "ja" else ("ja", "日本語")
    return page_file.render(
        "serving.html",
        title=supervisor.path.name,
        scripts=SCRIPTS,
        other=other,
        other_name=other_name,
        state=supervisor.state,
        facts=_facts(loaded),
        measured_title=say("What was measured"),
        cards=cards(measured),
        commands=[(sentence, runnable(command)) for sentence, command in unknown],
        memory_title=say("Memory"),
        head=["", say("planned"), say("allocated")],
        memory=memory_of(loaded),
        total_label=say("total"),
        use_title=say("Use it"),
        use_text=say(
            "Any OpenAI client works with this address; no key is needed. The server listens on "
            "this machine only."
        ),
        examples=[
            example._replace(text=runnable(example.text))
            for example in examples(base_url, supervisor.mode.gives)
        ],
        models=models_part("chat", current_language()),
        **copy_words(),
    )


def _facts(loaded: Loaded) -> list[tuple[str, str]]:
    n_ctx = loaded.supervisor.settings.n_ctx
    return [
        (say("State"), _state(loaded.supervisor)),
        (say("Context"), say("{n} tokens", n=f"{n_ctx:,}")),
        (say("Machine"), _machine(loaded.machine)),
    ]


def _machine(machine: Machine) -> str:
    """The machine in one line."""
    ram = machine.memory.limit_bytes or machine.memory.total_bytes
    return " · ".join(
        [
            say("{model}, {cores} cores", model=machine.cpu.model, cores=machine.cpu.usable_cores),
            say("{bytes} of RAM", bytes=format_bytes(ram)),
            *[device.name for device in machine.accelerators],
        ]
    )


def _state(supervisor: Supervisor) -> str:
    match supervisor.state:
        case "ready":
            return say("ready")
        case "loading":
            return say("loading")
        case _:
            return say("stopped")
