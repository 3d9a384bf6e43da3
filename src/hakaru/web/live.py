"""The page of a test that is running: what is known so far, drawn anew at every look; on loopback, without scripts.

It looks again every other second until the test is done. Figures are computed when somebody looks, not while nobody does.
"""

import socket
import threading
from collections.abc import Sequence
from html import escape
from string import Template
from types import TracebackType
from typing import Final

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from hakaru.evaluation.divergence import quality_of
from hakaru.evaluation.judgement import judge
from hakaru.evaluation.sequences import LEAST_WINDOWS
from hakaru.evaluation.texts import kind_of_text
from hakaru.evaluation.tiers import Tier
from hakaru.language import current_language, say, use_language
from hakaru.pictures.report import Report, chart_svg
from hakaru.serving.deployment import HOST
from hakaru.serving.gateway import refused
from hakaru.tuning.bench import Row
from hakaru.web.shared import headers, static, style

HEADERS: Final = headers(images="'self' data:")


class LivePage:
    """The page, served while the `with` block runs. `show` tells it what was read; `finish` ends its looking again."""

    def __init__(self, title: str, tier: Tier) -> None:
        self._title, self._tier, self._language = title, tier, current_language()
        self._seen: tuple[Sequence[Row], Sequence[str]] = ((), ())
        self._end: Sequence[str] | None = None
        routes = [Route("/", self._page), Route("/chart.svg", self._chart), Route("/page.css", style)]
        config = uvicorn.Config(Starlette(routes=routes), log_level="critical", access_log=False, timeout_graceful_shutdown=1)
        self._server, self._listener = uvicorn.Server(config), socket.create_server((HOST, 0))  # never the port of the API
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self._listener]}, daemon=True)

    @property
    def url(self) -> str:
        """Where a browser finds it."""
        return f"http://{HOST}:{self._listener.getsockname()[1]}/"

    def __enter__(self) -> "LivePage":
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._server.should_exit = True
        self._thread.join(timeout=5)
        self._listener.close()

    def show(self, rows: Sequence[Row], domains: Sequence[str]) -> None:
        """What was read so far: the sums per window, and the kinds of all windows."""
        self._seen = (list(rows), domains)

    def finish(self, sentences: Sequence[str]) -> None:
        """The test is done; what there is to say of it."""
        self._end = list(sentences)

    def render(self) -> str:
        """The page as HTML, in the language of the command."""
        use_language(self._language)
        rows, domains = self._seen
        verdict = judge(rows, domains, self._tier).verdict
        words = {"pass": say("passed"), "fail": say("failed"), "inconclusive": say("not known yet")}
        told = self._end or [say("Tier {tier}: {verdict}.", tier=self._tier.name, verdict=words[verdict])]
        picture = f"<img class='chart' src='/chart.svg?n={len(rows)}' alt='{escape(say('what was known, window after window'))}'>"
        return Template(static("live.html")).substitute(
            lang=self._language, title=escape(self._title),
            again="" if self._end else "<meta http-equiv='refresh' content='2'>",
            sentences="".join(f"<p>{escape(sentence)}</p>" for sentence in told),
            read=escape(say("{n} of {total} windows read", n=len(rows), total=len(domains))),
            rows="".join(f"<tr><th scope='row'>{escape(name)}</th><td>{escape(cell)}</td></tr>" for name, cell in self._figures()),
            picture=picture if len(rows) >= LEAST_WINDOWS else "",
        )  # fmt: skip

    def _report(self) -> Report:
        rows, domains = self._seen
        return Report(
            title=self._title, sentences=(), head=(), table=(), quality=quality_of(rows, domains), rows=rows, tier=self._tier
        )

    def _figures(self) -> list[tuple[str, str]]:
        if not self._seen[0]:
            return []
        lost = quality_of(*self._seen)
        figures = {
            say("mean KLD"): lost.kld_mean,
            **{say("{figure}, {kind}", figure="KLD", kind=kind_of_text(name)): figure for name, figure in lost.domains.items()},
        }
        return [(name, f"{f.value:.5f} [{f.lowest:.5f}…{f.highest:.5f}]") for name, f in figures.items()]

    def _page(self, request: Request) -> Response:
        return refused(request) or HTMLResponse(self.render(), headers=HEADERS)

    def _chart(self, request: Request) -> Response:
        use_language(self._language)
        if refusal := refused(request):
            return refusal
        if len(self._seen[0]) < LEAST_WINDOWS:
            return Response(status_code=404)
        return Response(chart_svg(self._report()), media_type="image/svg+xml", headers=HEADERS)
