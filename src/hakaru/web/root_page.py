"""What the page at a server's root is made of, whatever it shows: the page in the reader's
language, its scripts and its style sheet.

Where the server demands a key, the address has a page that asks for it, and the page itself comes
after the key. The scripts and the style sheet are those of every server, so nobody needs a key for
them.
"""

from collections.abc import Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import BaseRoute

from hakaru.language import say, use_language
from hakaru.pictures import page_file
from hakaru.serving.callers import OpenRoute, key_in, without_key
from hakaru.serving.entrance import Entrance
from hakaru.web.addresses import FILES, PAGE_SCRIPTS
from hakaru.web.key_page import key_page, other_language
from hakaru.web.shared import copy_words, language_of, script, style
from hakaru.web.which_model import HEADERS


def root_routes(entrance: Entrance, render: Callable[[str], str]) -> list[BaseRoute]:
    """The routes of the page and its files. `render` makes the page, in the language in use, of
    the base URL of the API.
    """

    def page(request: Request) -> Response:  # in a thread: it reads files
        use_language(language_of(request))
        key = key_in(request)
        if not entrance.lets_in(key):
            return HTMLResponse(key_page(), headers=HEADERS) if key is None else without_key()
        base_url = f"{request.url.scheme}://{request.url.netloc}/v1"
        return HTMLResponse(render(base_url), headers=HEADERS)

    return [
        OpenRoute("/", page),
        OpenRoute("/page.css", style),
        *(OpenRoute(path, script) for path in FILES),
    ]


def root_page(**parts: Any) -> str:
    """The page as HTML, with what every such page has beside its `parts`."""
    return page_file.render(
        "serving.html",
        scripts=PAGE_SCRIPTS,
        parts_label=say("Parts of this page"),
        failed=say("The server gave no answer."),
        **other_language(),
        **copy_words(),
        **parts,
    )
