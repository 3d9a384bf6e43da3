"""What all pages have in common: the headers, the style sheets, the scripts, and who may ask for a
piece of a page.
"""

import json
from collections.abc import Awaitable, Callable
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from hakaru.errors import HakaruError
from hakaru.language import LANGUAGES, say, use_language
from hakaru.pictures import page_file
from hakaru.pictures.page_file import page_script, served_style_sheet
from hakaru.serving.refusals import error_response, too_large


def headers(
    *, images: str = "data:", scripts: str | None = None, asks: str = "'none'"
) -> dict[str, str]:
    """Headers of a page without anything from elsewhere. `images` and `scripts`: where the pictures
    and the scripts of the page may come from; None: there are no scripts. `asks`: where scripts and
    forms may ask for more.
    """
    policy = (
        f"default-src 'none'; style-src 'self'; img-src {images}; "
        f"{f'script-src {scripts}; ' if scripts else ''}"
        f"connect-src {asks}; base-uri 'none'; form-action {asks}; frame-ancestors 'none'"
    )
    return {
        "Content-Security-Policy": policy,
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-store",
    }


Endpoint = Callable[[Request], Response]
"""What answers a request, in a thread."""
AsyncEndpoint = Callable[[Request], Awaitable[Response]]
MAX_POSTED: Final = 4096
PIECE: Final = headers()
"""Headers of a piece that a script of ours puts into its page."""


def own_pages_only(answer: Endpoint) -> Endpoint:
    """`answer`, but only for pages of this very server. A page of another port of this machine may
    use the API (`serving.callers`), but has no business with what a page of ours is made of.
    """

    def guarded(request: Request) -> Response:
        return answer(request) if _is_own_page(request) else _for_own_pages()

    return guarded


def posted(answer: Callable[[Request, dict[str, Any]], Awaitable[Response]]) -> AsyncEndpoint:
    """What changes something, by a JSON object of at most MAX_POSTED bytes, and only for pages of
    this very server. JSON, since a form of another site can post anything else without asking.
    """

    async def guarded(request: Request) -> Response:
        origin = request.headers.get("origin")
        own = f"{request.url.scheme}://{request.headers.get('host', '')}"
        if not _is_own_page(request) or origin not in (None, own):
            return _for_own_pages()
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json":
            return error_response(415, "the body must be application/json", "unsupported_media")
        length = request.headers.get("content-length", "")
        if not length.isdigit() or int(length) > MAX_POSTED:
            return too_large(length or "an unknown number of", MAX_POSTED)
        try:
            body = json.loads(await request.body())
        except ValueError as error:
            return error_response(400, f"the body is no JSON: {error}", "invalid_json")
        if not isinstance(body, dict):
            return error_response(400, "the body must be a JSON object", "invalid_json")
        return await answer(request, body)

    return guarded


def _is_own_page(request: Request) -> bool:
    return request.headers.get("sec-fetch-site", "none") in {"same-origin", "none"}


def _for_own_pages() -> Response:
    return error_response(403, "this is for the server's own page", "forbidden_origin")


def piece(template: str, tell: Callable[[Request], dict[str, Any]]) -> Endpoint:
    """What answers with a template of what `tell` says, for pages of this very server; an error is
    told in its place.
    """

    def answer(request: Request) -> Response:  # in a thread: it computes
        use_language(language_of(request))
        status = 200
        try:
            told = tell(request)
        except HakaruError as error:
            status, told = 400, {"sentences": [str(error)], "said": str(error)}
        page = page_file.render(template, **told, **copy_words())
        return HTMLResponse(page, status, headers=PIECE)

    return own_pages_only(answer)


def style(request: Request) -> Response:
    """The style sheet."""
    return Response(served_style_sheet(), media_type="text/css", headers=headers())


def script(request: Request) -> Response:
    """The script that is named as its address."""
    name = request.url.path.removeprefix("/")
    return Response(page_script(name), media_type="text/javascript", headers=headers())


def language_of(request: Request) -> str:
    """The language of a page: that of `?lang=`, or the browser's first choice."""
    language = request.query_params.get("lang", "")
    if language in LANGUAGES:
        return language
    preferred = request.headers.get("accept-language", "").lower()
    return "ja" if preferred.startswith("ja") else "en"


def copy_words() -> dict[str, str]:
    """What the buttons that copy say."""
    return {"copy": say("Copy"), "copied": say("Copied"), "marked": say("Marked: press Ctrl+C")}
