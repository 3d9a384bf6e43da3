"""The page is imported when a browser first asks, and answers then as if it had been there."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from unittest.mock import Mock, patch

import pytest
from starlette.applications import Starlette
from starlette.routing import BaseRoute, Route
from starlette.testclient import TestClient

from hakaru.serving.callers import OpenRoute
from hakaru.serving.entrance import ON_THIS_MACHINE, Entrance
from hakaru.serving.serve_at import Elsewhere
from hakaru.web.models_page import served_routes
from hakaru.web.page import page_routes, whole_page
from page_server import loaded_model

MADE_AND_ASKED = """
import asyncio, json, sys
from pathlib import Path

from hakaru.serving.forwarding import Forwarding
from hakaru.serving.front import Front
from hakaru.serving.gateway import make_gateway
from hakaru.serving.kept_engine import KeptEngine
from hakaru.serving.limits import limits_of
from hakaru.web.page import page_routes

imported = sorted(sys.modules)
from page_server import loaded_model

async def asked(path):
    sent = []
    async def send(message):
        sent.append(message)
    await gateway({
        "type": "http", "method": "GET", "path": path, "query_string": b"", "scheme": "http",
        "headers": [(b"host", b"localhost")], "server": ("localhost", 80),
    }, None, send)
    return sent[0]["status"], sorted(sys.modules)

loaded = loaded_model(Path(sys.argv[1]))
limits = limits_of(loaded.fit.model, loaded.fit.settings, sees=False)
gateway = make_gateway(Forwarding(KeptEngine(loaded.supervisor), limits), page_routes(loaded))
print(json.dumps([imported, *(asyncio.run(asked(path)) for path in ("/unknown.js", "/"))]))
"""
ONLY_OF_PAGES = {"rich", "pygments", "httpx", "huggingface_hub", "jinja2"}
"""Libraries that a gateway needs for nothing but its page."""
THE_ADDRESSES = {"hakaru.web.page", "hakaru.web.addresses"}
ELSEWHERE = Entrance(host="192.168.1.5", digests=(b"",))


def test_a_gateway_imports_its_page_when_a_browser_asks(tmp_path: Path) -> None:
    """Before that it has the addresses alone, also when it was asked for one that there is not."""
    done = subprocess.run(
        [sys.executable, "-c", MADE_AND_ASKED, tmp_path],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[1],
    )
    assert done.returncode == 0, done.stderr
    imported, (unknown, before), (page, after) = json.loads(done.stdout)
    assert (unknown, page) == (404, 200)
    assert {name for name in before if name.startswith("hakaru.web.")} == THE_ADDRESSES
    assert not ONLY_OF_PAGES & set(before)
    assert "numpy" not in imported  # this test writes its model with it
    assert {"hakaru.web.which_model", "httpx", "jinja2"} <= set(after)


def ways(routes: Iterable[BaseRoute]) -> set[tuple[str, str, bool]]:
    """Addresses with methods, and whether they are open to who has no key."""
    return {
        (route.path, method, isinstance(route, OpenRoute))
        for route in routes
        if isinstance(route, Route)
        for method in route.methods or ()
    }


@pytest.mark.parametrize("entrance", [ON_THIS_MACHINE, ELSEWHERE])
def test_the_gateway_knows_every_address_of_the_page(tmp_path: Path, entrance: Entrance) -> None:
    """Of a server with models, also where nothing may be fetched, and of one before others."""
    elsewhere = Elsewhere(backends=Mock(), entrance=entrance, leave=())
    for what in (loaded_model(tmp_path, entrance), elsewhere):
        assert ways(page_routes(what)) == ways(whole_page(what, str))


def test_the_page_is_made_once(tmp_path: Path) -> None:
    """Browsers that ask at the same time see one page: what is fetched for one is told to all."""
    n, all_ask = 6, threading.Barrier(6)
    with patch("hakaru.web.models_page.served_routes", wraps=served_routes) as made:
        client = TestClient(
            Starlette(routes=page_routes(loaded_model(tmp_path))), base_url="http://localhost"
        )

        def ask(_: Any) -> int:
            all_ask.wait()
            return client.get("/fetching").status_code

        with ThreadPoolExecutor(n) as pool:
            assert list(pool.map(ask, range(n))) == [200] * n
    assert made.call_count == 1
