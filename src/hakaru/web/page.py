"""The page at the server's root: the model that runs, its memory, and how to call it, in the reader's language.

It is rendered here, without scripts and without anything from elsewhere, under a content security policy that allows
only its own style sheet. The language is the one of `?lang=`, or the browser's first choice.
"""

from html import escape
from string import Template
from typing import Final

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import BaseRoute, Route

from hakaru.errors import EngineDied
from hakaru.language import LANGUAGES, current_language, say, use_language
from hakaru.serving.gateway import refused
from hakaru.serving.supervisor import Supervisor
from hakaru.units import format_bytes
from hakaru.web.shared import headers, static, style

HEADERS: Final = headers()
BAR_WIDTH: Final = 600


def page_routes(supervisor: Supervisor) -> list[BaseRoute]:
    """Routes of the page, for the gateway in front of `supervisor`'s engine."""

    async def page(request: Request) -> Response:
        if refusal := refused(request):
            return refusal
        use_language(_language(request))
        return HTMLResponse(render(supervisor, base_url=f"{request.url.scheme}://{request.url.netloc}/v1"), headers=HEADERS)

    return [Route("/", page), Route("/page.css", style)]


def render(supervisor: Supervisor, *, base_url: str) -> str:
    """The page as HTML, in the language in use."""
    try:
        parts = supervisor.server.footprint().parts()
    except EngineDied:
        parts = {}
    shown = {label: parts[key] for key, label in _labels().items() if parts.get(key)}
    return Template(static("page.html")).substitute(
        lang=current_language(),
        title=escape(say("{model} on this machine", model=supervisor.path.stem)),
        state_label=escape(say("State")),
        state=escape(_state(supervisor)),
        context_label=escape(say("Context")),
        context=escape(say("{n} tokens", n=f"{supervisor.settings.n_ctx:,}")),
        memory_title=escape(say("Memory that the engine took")),
        bar=_bar(shown),
        rows="".join(f"<tr><th scope='row'>{escape(k)}</th><td>{format_bytes(v)}</td></tr>" for k, v in shown.items()),
        total_label=escape(say("total")),
        total=format_bytes(sum(shown.values())),
        use_title=escape(say("Use it")),
        use_text=escape(
            say("Any OpenAI client works with this address; no key is needed. The server listens on this machine only.")
        ),
        base_url=escape(base_url),
        curl=escape(_curl(base_url)),
        python=escape(_python(base_url)),
        other_language="en" if current_language() == "ja" else "ja",
        other_language_name="English" if current_language() == "ja" else "日本語",
    )


def _labels() -> dict[str, str]:
    return {
        "weights_bytes": say("weights"),
        "kv_cache_bytes": say("KV cache"),
        "compute_bytes": say("compute"),
        "output_bytes": say("output"),
    }


def _state(supervisor: Supervisor) -> str:
    match supervisor.state:
        case "ready":
            return say("ready")
        case "loading":
            return say("loading")
        case _:
            return say("stopped")


def _bar(parts: dict[str, int]) -> str:
    """A stacked bar as SVG; the table beside it says the same in words."""
    total, x, boxes = sum(parts.values()) or 1, 0.0, []
    for i, (label, n_bytes) in enumerate(parts.items()):
        width = BAR_WIDTH * n_bytes / total
        title = f"<title>{escape(label)}: {format_bytes(n_bytes)}</title>"
        boxes.append(f"<rect class='part{i}' x='{x:.1f}' y='0' width='{width:.1f}' height='28'>{title}</rect>")
        x += width
    return "".join(boxes)


def _curl(base_url: str) -> str:
    body = '{"messages": [{"role": "user", "content": "Hello!"}]}'
    return f"curl {base_url}/chat/completions -H 'Content-Type: application/json' -d '{body}'"


def _python(base_url: str) -> str:
    return (
        "from openai import OpenAI\n"
        f'client = OpenAI(base_url="{base_url}", api_key="none")\n'
        'answer = client.chat.completions.create(model="any", messages=[{"role": "user", "content": "Hello!"}])\n'
        "print(answer.choices[0].message.content)"
    )


def _language(request: Request) -> str:
    asked = request.query_params.get("lang", "")
    preferred = request.headers.get("accept-language", "").lower()
    return asked if asked in LANGUAGES else "ja" if preferred.startswith("ja") else "en"
