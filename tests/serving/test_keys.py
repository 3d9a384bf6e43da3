"""Keys: who has none learns nothing, hashes alone are kept, no machine comes in without."""

import asyncio
import json
import stat
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from hakaru.cli import run
from hakaru.errors import MachineError, Misuse
from hakaru.places import data_dir
from hakaru.servers import Deployment
from hakaru.serving import keys
from hakaru.serving.callers import who_may_ask
from hakaru.serving.entrance import ON_THIS_MACHINE, Entrance, entrance_for
from hakaru.serving.port import bound_socket

KEY = "a-key-of-a-person-73"
PATHS = (
    "/health",
    "/v1/models",
    "/slots",
    "/v1/chat/completions",
    "/",
    "/openapi.json",
    "/metrics",
)


async def answer(request: Request) -> Response:
    return JSONResponse({})


def asked(entrance: Entrance, path: str = "/slots", **headers: str) -> httpx.Response:
    """The answer at `path`, with these headers, `_` for `-`."""
    app = Starlette(
        routes=[Route(p, answer, methods=["GET", "POST"]) for p in PATHS],
        middleware=who_may_ask(("https://app.example",), entrance),
    )
    spelled = {name.replace("_", "-"): value for name, value in headers.items()}

    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            method = "OPTIONS" if "access_control_request_method" in headers else "GET"
            return await client.request(method, path, headers=spelled)

    return asyncio.run(ask())


@pytest.mark.parametrize("path", PATHS)
def test_without_a_key_nothing_but_health_is_answered(path: str) -> None:
    """In the form of all errors."""
    refused = asked(entrance_for(api_key=[KEY]), path)
    assert refused.status_code == (200 if path == "/health" else 401)
    if refused.status_code == 401:
        assert refused.json()["error"]["code"] == "invalid_api_key"
        assert refused.headers["www-authenticate"] == "Bearer"


def test_a_key_is_taken_as_openai_s_and_anthropic_s_clients_send_it() -> None:
    """One of several; almost the right one is none."""
    entrance = entrance_for(api_key=["another-key-of-16", KEY])
    assert asked(entrance, authorization=f"Bearer {KEY}").status_code == 200
    assert asked(entrance, x_api_key=KEY).status_code == 200
    for wrong in (KEY[:-1], KEY + "x", KEY.upper(), ""):
        assert asked(entrance, authorization=f"Bearer {wrong}").status_code == 401
        assert asked(entrance, x_api_key=wrong).status_code == 401
    assert asked(entrance, authorization=f"Basic {KEY}").status_code == 401
    assert asked(entrance, x_api_key=entrance.own_key).status_code == 200  # hakaru chat's
    assert asked(ON_THIS_MACHINE).status_code == 200
    assert KEY not in repr(entrance)


def test_a_browser_may_ask_whether_it_may_ask() -> None:
    """A preflight has no key; its page reads the 401, too."""
    entrance = entrance_for(api_key=[KEY])
    site = "https://app.example"
    assert asked(entrance, origin=site, access_control_request_method="POST").status_code == 200
    refused = asked(entrance, origin=site)
    assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (401, site)


def test_every_key_is_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first right one ends nothing."""
    compared: list[bytes] = []

    def compare(one: bytes, other: bytes) -> bool:
        compared.append(other)
        return one == other

    monkeypatch.setattr("hmac.compare_digest", compare)
    digests = [keys.digest_of(name) for name in ("a", "b", "c")]
    assert keys.is_one_of("a", digests)
    assert compared == digests


def test_names_of_hosts_are_judged_on_this_machine_only() -> None:
    """Elsewhere by names that it does not know; pages of other sites stay out."""
    keys.add("phone")
    abroad = entrance_for(host="0.0.0.0", api_key=[KEY], insecure=True)
    own = {"host": "box.lan:8600", "x_api_key": KEY}
    assert asked(abroad, **own).status_code == 200
    assert asked(abroad, **own, origin="http://box.lan:8600").status_code == 200
    assert asked(abroad, **own, origin="http://evil.example").status_code == 403
    assert asked(entrance_for(api_key=[KEY]), **own).status_code == 403


def test_a_key_is_shown_once_and_kept_as_a_hash(capsys: pytest.CaptureFixture[str]) -> None:
    """Alone on stdout; the file is this user's, and holds no key."""
    assert run(["key", "list"]) == 0
    assert "There is no key yet" in capsys.readouterr().out
    assert run(["key", "add", "phone"]) == 0
    key = capsys.readouterr().out.strip()
    file = data_dir() / "keys.json"
    assert key.startswith("hk-") and len(key) > 40
    assert key not in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    abroad = entrance_for(host="192.168.1.5", insecure=True)
    assert abroad.lets_in(key) and not abroad.lets_in(key[:-1]) and not abroad.lets_in(None)
    assert run(["key", "list", "--json"]) == 0
    assert list(json.loads(capsys.readouterr().out)["keys"]) == ["phone"]
    assert run(["key", "add", "phone"]) == 2
    assert run(["key", "add", "a b"]) == 2
    assert run(["key", "rm", "phone"]) == 0
    assert run(["key", "rm", "phone"]) == 2
    assert keys.stored() == {}
    file.write_text("{")
    with pytest.raises(MachineError, match="holds no keys"):
        keys.stored()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"host": "0.0.0.0"}, "a key is needed"),
        ({"host": "::", "insecure": True}, "a key is needed"),
        ({"host": "192.168.1.5", "api_key": [KEY]}, "name `tls_cert` and `tls_key`"),
        ({"host": "box.lan"}, "expected an address"),
        ({"api_key": ["secret"]}, "less than 16 letters"),
        ({"tls_cert": Path("c.pem")}, "go together"),
        ({"tls_cert": Path("c.pem"), "tls_key": Path("k.pem")}, "cannot be used"),
        ({"api_key_file": Path("none")}, "cannot be read"),
    ],
)
def test_what_would_be_open_to_others_is_refused(options: dict[str, object], words: str) -> None:
    """Before anything is loaded, with exit code 2."""
    with pytest.raises(Misuse, match=words):
        entrance_for(**options)  # type: ignore[arg-type]


def test_serve_refuses_before_it_looks_for_the_model(capsys: pytest.CaptureFixture[str]) -> None:
    """The model does not even exist; options are named as they are typed."""
    assert run(["serve", "no-such.gguf", "--host", "0.0.0.0"]) == 2
    assert "--host 0.0.0.0 is reached from other machines" in capsys.readouterr().err


def test_keys_in_a_file_stand_one_a_line(tmp_path: Path) -> None:
    """With room for remarks."""
    file = tmp_path / "keys"
    file.write_text(f"# of the office\n{KEY}  # mine\n\nanother-key-of-16\n")
    assert keys.keys_in(file) == [KEY, "another-key-of-16"]
    assert entrance_for(api_key_file=file).lets_in("another-key-of-16")
    file.write_text("# none\n")
    with pytest.raises(Misuse, match="holds no key"):
        keys.keys_in(file)


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:1/v1"),
        ("0.0.0.0", "http://127.0.0.1:1/v1"),
        ("::", "http://[::1]:1/v1"),
        ("192.168.1.5", "http://192.168.1.5:1/v1"),
    ],
)
def test_commands_find_a_server_at_every_address(host: str, url: str) -> None:
    """All addresses have this machine's own among them."""
    made = Deployment(pid=1, started=0, port=1, model="m", path="p", settings={}, host=host)
    assert made.url == url


def test_a_server_listens_where_it_is_told() -> None:
    """Also by IPv6, where this machine has it."""
    with bound_socket(None, "127.0.0.2") as listener:
        assert listener.getsockname()[0] == "127.0.0.2"
