"""The page of a test that is running, on loopback and without scripts.

The browser loads the page again every other second until the test is done. Figures are computed and
drawn when the page is loaded, so that nobody waits for them when no browser is open.
"""

import socket
import threading
from collections.abc import Sequence
from typing import Final

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from hakaru.evaluation.losses import Row
from hakaru.evaluation.tiers import Tier
from hakaru.language import current_language, say, use_language
from hakaru.pictures import page_file
from hakaru.pictures.report import Report, chart_svg, report_so_far
from hakaru.servers import HOST
from hakaru.serving.callers import who_may_ask
from hakaru.web.shared import headers, style

HEADERS: Final = headers(images="'self' data:")


class LivePage:
    """The page, served while the `with` block runs. `show` gives the page the windows that were
    read; after `finish` the browser does not load the page again.
    """

    def __init__(self, title: str, tier: Tier) -> None:
        self._title, self._tier, self._language = title, tier, current_language()
        self._read: tuple[Sequence[Row], Sequence[str]] = ((), ())  # as `show` takes them
        self._end: Sequence[str] | None = None  # sentences; None while the test runs
        routes = [
            Route("/", self._page),
            Route("/chart.svg", self._chart),
            Route("/page.css", style),
        ]
        config = uvicorn.Config(
            Starlette(routes=routes, middleware=who_may_ask()),
            log_level="critical",
            access_log=False,
            timeout_graceful_shutdown=1,
        )
        self._server = uvicorn.Server(config)
        self._listener = socket.create_server((HOST, 0))  # any free port: the API keeps its own
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [self._listener]}, daemon=True
        )

    @property
    def url(self) -> str:
        """The address of the page."""
        return f"http://{HOST}:{self._listener.getsockname()[1]}/"

    def __enter__(self) -> "LivePage":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join(timeout=5)
        self._listener.close()

    def show(self, rows: Sequence[Row], domains: Sequence[str]) -> None:
        """Show the sums of the windows that were read so far. `domains`: the kind of text of every
        window, also of the unread.
        """
        self._read = (list(rows), domains)

    def finish(self, sentences: Sequence[str]) -> None:
        """End the page with the sentences on the result."""
        self._end = list(sentences)

    def render(self) -> str:
        """The page as HTML, in the language of the command."""
        use_language(self._language)
        report = self._report()
        picture = f"/chart.svg?n={len(report.rows)}" if report.is_drawable else None
        return page_file.render(
            "report.html",
            title=report.title,
            sentences=report.sentences,
            table=report.table,
            again=self._end is None,
            picture=picture,
            picture_text=say("what was known, window after window"),
        )

    def _report(self) -> Report:
        return report_so_far(self._title, *self._read, self._tier, end=self._end)

    def _page(self, request: Request) -> Response:
        return HTMLResponse(self.render(), headers=HEADERS)

    def _chart(self, request: Request) -> Response:
        use_language(self._language)
        report = self._report()
        if not report.is_drawable:
            return Response(status_code=404)
        return Response(chart_svg(report), media_type="image/svg+xml", headers=HEADERS)
