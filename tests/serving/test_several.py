"""Several models behind one address. A small program stands for the engine of each."""

import json
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from hakaru.cli import run
from hakaru.errors import DoesNotFit, Misuse
from hakaru.planning.fit import fit
from hakaru.servers import log_of
from hakaru.servers.holding import who_holds_what
from hakaru.session import Session
from hakaru.testing import write_tiny_llama
from houses import House

pytestmark = pytest.mark.usefixtures("no_engine")


@pytest.fixture
def one(tmp_path: Path, session_with: Callable[..., Session]) -> int:
    """Bytes that one of the models takes."""
    session = session_with()
    total = fit(write_tiny_llama(tmp_path / "one.gguf"), n_ctx=512, session=session).total_bytes
    session.ledger.close()
    return total


def test_a_model_is_loaded_by_the_first_request_that_names_it(house: House) -> None:
    """The first is there at once; the answer says what it changed, and so do the list and ps."""
    house.serves("a", "b")
    assert house.started == ["a"] and house.states() == {"a": "loaded", "b": "unloaded"}
    assert [h.state for h in who_holds_what()[0]] == ["ready", "unloaded"]
    first = house.ask("b")
    assert (first.json()["model"], first.headers["hakaru-loaded"]) == ("b", "b")
    again = house.ask("b")
    assert (again.json()["model"], "hakaru-loaded" in again.headers) == ("b", False)
    assert house.ask("a").json()["model"] == "a"
    assert house.started == ["a", "b"] and set(house.states().values()) == {"loaded"}
    holdings, _ = who_holds_what()
    assert [h.server.model for h in holdings] == ["a", "b"]
    assert all(h.state == "ready" and (h.ram_bytes or 0) > 10**6 for h in holdings)
    assert "b is loaded" in log_of(holdings[0].server.port).read_text()


def test_requests_for_one_model_wait_for_one_load(house: House) -> None:
    """And all are answered; a client that leaves meanwhile changes nothing."""
    house.serves("a", "b")
    house.loads_s = 0.5
    with pytest.raises(httpx.TimeoutException):
        httpx.post(f"{house.url}/completions", json={"model": "b", "prompt": "x"}, timeout=0.1)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(house.ask, ["b"] * 8))
    assert [a.status_code for a in answers] == [200] * 8
    assert house.started == ["a", "b"]


def test_what_nobody_can_answer_loads_nothing(house: House) -> None:
    """An unknown name, with those that there are; none; an endpoint of other models; no JSON; a
    question about an engine that is not there.
    """
    house.serves("a", "b")
    unknown = house.ask("c")
    assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "model_not_found")
    assert "there are a, b" in unknown.json()["error"]["message"]
    wrong = [
        ({"prompt": "x"}, "missing_model"),
        ({"model": 5}, "invalid_value"),
        ("{", "invalid_json"),
    ]
    for body, code in wrong:
        raw = body if isinstance(body, str) else json.dumps(body)
        answer = httpx.post(f"{house.url}/completions", content=raw)
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, code)
    vectors = httpx.post(f"{house.url}/embeddings", json={"model": "b", "input": "x"})
    assert (vectors.status_code, vectors.json()["error"]["code"]) == (400, "unsupported")
    base = house.url.removesuffix("/v1")
    assert httpx.get(f"{base}/slots?model=a").status_code == 200
    gone = httpx.get(f"{base}/slots?model=b")
    assert (gone.status_code, gone.json()["error"]["code"]) == (503, "model_unloaded")
    assert httpx.get(f"{house.url}/models/b").json()["status"] == {"value": "unloaded"}
    assert httpx.get(f"{house.url}/models/c").status_code == 404
    assert house.started == ["a"]


def test_the_idle_model_that_was_used_longest_ago_makes_room(house: House, one: int) -> None:
    """Within the limit of all together; no more go than must, and the answer says which."""
    house.serves("a", "b", "c", memory=int(2.5 * one))
    house.ask("b")
    house.ask("a")
    answer = house.ask("c")
    assert (answer.headers["hakaru-loaded"], answer.headers["hakaru-unloaded"]) == ("c", "b")
    assert house.states() == {"a": "loaded", "b": "unloaded", "c": "loaded"}
    assert house.ask("b").headers["hakaru-unloaded"] == "a"
    assert house.started == ["a", "b", "c", "b"]


def test_a_model_that_answers_is_never_ended(
    house: House, one: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next one waits until it is idle; after too long a wait it is refused with the name."""
    house.serves("a", "b", memory=int(1.5 * one))
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(house.ask, "a", "slow 0.7", stream=True)
        while httpx.get(house.url.replace("v1", "health")).json()["models"]["a"]["answering"] < 1:
            time.sleep(0.01)
        assert house.ask("b").headers["hakaru-unloaded"] == "a"
        assert slow.result().text.endswith("[DONE]\n\n")
        monkeypatch.setattr("hakaru.serving.on_demand.ROOM_WITHIN_S", 0.2)
        slow = pool.submit(house.ask, "b", "slow 2")
        while httpx.get(house.url.replace("v1", "health")).json()["models"]["b"]["answering"] < 1:
            time.sleep(0.01)
        refused = house.ask("a")
        assert slow.result().status_code == 200
    error = refused.json()["error"]
    assert (refused.status_code, error["code"]) == (503, "no_room")
    assert "beside b, which answers now" in error["message"] and refused.headers["retry-after"]
    assert house.started == ["a", "b"]


def test_a_model_that_does_not_fit_alone_is_refused_at_once(house: House) -> None:
    """Nothing is served."""
    with pytest.raises(DoesNotFit):
        house.serves("a", "b", memory="1MiB")
    assert house.started == []


def test_two_models_of_one_name_are_refused(house: House, tmp_path: Path) -> None:
    """Clients could not tell them apart."""
    (tmp_path / "x").mkdir()
    with pytest.raises(Misuse, match="two models are called a"):
        house.serves("a", "x/a")


def test_a_model_that_nobody_asks_for_is_unloaded(house: House) -> None:
    """And loaded again by the next request."""
    house.serves("a", idle_s=0.3)
    until = time.monotonic() + 10
    while house.states()["a"] == "loaded" and time.monotonic() < until:
        time.sleep(0.05)
    assert house.states() == {"a": "unloaded"}
    assert house.ask("a").headers["hakaru-loaded"] == "a"
    assert house.started == ["a", "a"]


def test_one_of_several_is_unloaded_by_its_name(
    house: House, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not while it answers; the others and the server go on, and a request loads it again."""
    house.serves("a", "b")
    house.ask("b")
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(house.ask, "b", "slow 2")
        time.sleep(0.5)
        assert run(["stop", "b"]) == 1
        assert "b answers now" in capsys.readouterr().err
        assert answer.result().status_code == 200
    assert run(["stop", "B"]) == 0
    said = capsys.readouterr().out
    assert "Unloaded: b. The next request that names it loads it again." in said
    assert house.states() == {"a": "loaded", "b": "unloaded"}
    assert run(["stop", "b"]) == 0 and "b is not loaded." in capsys.readouterr().out
    unknown = httpx.post(f"{house.url.removesuffix('/v1')}/models/unload", json={"model": "c"})
    assert unknown.status_code == 404
    assert house.ask("b").headers["hakaru-loaded"] == "b"


def test_a_load_that_fails_is_told_and_tried_again(house: House) -> None:
    """The other models go on answering."""
    house.serves("a", "b")
    house.folder.joinpath("b.dies").touch()
    failed = house.ask("b")
    assert (failed.status_code, failed.json()["error"]["code"]) == (503, "load_failed")
    assert house.ask("a").status_code == 200 and house.states()["b"] == "unloaded"
    os.unlink(house.folder / "b.dies")
    assert house.ask("b").status_code == 200


def test_a_load_that_runs_out_of_memory_is_tried_with_less(house: House) -> None:
    """The request waits, and is answered; the log tells what was changed."""
    house.serves("a", "b", n_ctx=65536)
    house.folder.joinpath("b.dies").write_text("once")
    assert house.ask("b").status_code == 200
    assert house.started == ["a", "b", "b"]
    holdings, _ = who_holds_what()
    told = log_of(holdings[0].server.port).read_text()
    assert "ran out of memory while it loaded" in told and "It is loaded with less" in told


@pytest.mark.parametrize("more", [["--alias", "x"], ["--dry-run"], ["-t", "2"]])
def test_options_of_one_model_are_refused(
    tmp_path: Path, more: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """With several, and where the one comes and goes."""
    model = str(write_tiny_llama(tmp_path / "a.gguf"))
    for several in ([model, model], [model, "--idle", "1m"]):
        assert run(["serve", *several, *more]) == 2
        assert "is for one model that stays loaded" in capsys.readouterr().err
