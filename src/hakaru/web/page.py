"""The page at the server's root: the model that runs, its memory, and how to call it, in the
reader's language.

The page has no scripts and nothing from elsewhere; its content security policy allows only its own
style sheet. The language is the one of `?lang=`, or the browser's first choice.
"""

from typing import Final

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import BaseRoute, Route

from hakaru.errors import EngineDied
from hakaru.language import LANGUAGES, current_language, say, use_language
from hakaru.pictures import page_file
from hakaru.serving.supervisor import Supervisor
from hakaru.units import format_bytes
from hakaru.web.shared import headers, style

HEADERS: Final = headers()


def page_routes(supervisor: Supervisor) -> list[BaseRoute]:
    """The routes of the page, for the gateway in front of the engine that `supervisor` runs."""

    async def page(request: Request) -> Response:
        use_language(_language(request))
        return HTMLResponse(
            render(supervisor, base_url=f"{request.url.scheme}://{request.url.netloc}/v1"),
            headers=HEADERS,
        )

    return [Route("/", page), Route("/page.css", style)]


def render(supervisor: Supervisor, *, base_url: str) -> str:
    """The page as HTML, in the language in use."""
    try:
        taken = supervisor.server.log.footprint().parts()
    except EngineDied:
        taken = {}
    sizes = {label: taken[key] for key, label in _labels().items() if taken.get(key)}
    other, other_name = ("en", "English") if current_language() == "ja" else ("ja", "日本語")
    return page_file.render(
        "serving.html",
        title=say("{model} on this machine", model=supervisor.path.stem),
        other=other,
        other_name=other_name,
        facts=[
            (say("State"), _state(supervisor)),
            (say("Context"), say("{n} tokens", n=f"{supervisor.settings.n_ctx:,}")),
        ],
        memory_title=say("Memory that the engine took"),
        parts=_parts(sizes),
        total_label=say("total"),
        total=format_bytes(sum(sizes.values())),
        use_title=say("Use it"),
        use_text=say(
            "Any OpenAI client works with this address; no key is needed. The server listens on "
            "this machine only."
        ),
        examples=[base_url, _curl(base_url), _python(base_url)],
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


def _parts(sizes: dict[str, int]) -> list[dict[str, str]]:
    """The parts of the bar, from where and how wide in hundredths of its width; and their rows in
    the table below the bar.
    """
    total, begin, parts = sum(sizes.values()), 0.0, []
    for label, n_bytes in sizes.items():
        share = 100 * n_bytes / total
        parts.append(
            {
                "label": label,
                "size": format_bytes(n_bytes),
                "begin": f"{begin:.2f}",
                "share": f"{share:.2f}",
            }
        )
        begin += share
    return parts


def _curl(base_url: str) -> str:
    body = '{"messages": [{"role": "user", "content": "Hello!"}]}'
    return f"curl {base_url}/chat/completions -H 'Content-Type: application/json' -d '{body}'"


def _python(base_url: str) -> str:
    return (
        "from openai import OpenAI\n"
        f'client = OpenAI(base_url="{base_url}", api_key="none")\n'
        'answer = client.chat.completions.create(model="any", messages=[{"role": "user", '
        '"content": "Hello!"}])\n'
        "print(answer.choices[0].message.content)"
    )


def _language(request: Request) -> str:
    language = request.query_params.get("lang", "")
    if language in LANGUAGES:
        return language
    preferred = request.headers.get("accept-language", "").lower()
    return "ja" if preferred.startswith("ja") else "en"
