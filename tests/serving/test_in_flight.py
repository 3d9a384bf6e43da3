"""The queue before an engine: who waits, who is refused, and when a place is free again."""

import json
import socket
import time
from typing import Any
from urllib.parse import urlsplit

import httpx
import openai
import pytest

from hakaru.serving.in_flight import Full, InFlight
from houses import House


def test_the_request_behind_the_last_place_is_refused() -> None:
    """With the time after which a place should be free: two places, taken for six seconds each."""
    now = [0.0]
    requests = InFlight(1, 1, clock=lambda: now[0])
    first, second, third = requests.enter(), requests.enter(), requests.enter()
    first.take_place()
    first.take_place()  # a second try is the same place
    now[0] = 6.0
    first.leave(is_answered=True)
    first.leave()
    second.take_place()
    third.take_place()
    assert requests.as_json() == {"answering": 1, "waiting": 1, "idle_s": None}
    with pytest.raises(Full) as refused:
        requests.enter().take_place()
    assert (refused.value.n, refused.value.retry_after_s) == (2, 3)
    second.leave()
    requests.enter().take_place()


def test_what_is_only_counted_takes_no_place_and_idle_time_begins_behind_the_last() -> None:
    """A request whose body is still coming keeps nobody out, but the engine is not idle."""
    now = [0.0]
    requests = InFlight(1, 0, clock=lambda: now[0])
    slow = requests.enter()
    requests.enter().take_place()
    assert not requests.is_idle and requests.idle_s is None
    slow.leave()
    assert not requests.is_idle


def test_by_default_64_may_wait_for_each_slot() -> None:
    """And no more."""
    requests = InFlight(2)
    for _ in range(2 + 2 * 64):
        requests.enter().take_place()
    with pytest.raises(Full):
        requests.enter().take_place()


def asks(url: str, body: dict[str, object]) -> socket.socket:
    """A client that has asked for a completion, and can leave."""
    raw, port = json.dumps(body), urlsplit(url).port
    client = socket.create_connection(("127.0.0.1", port or 0))
    head = f"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(raw)}\r\n\r\n"
    client.sendall((head + raw).encode())
    return client


@pytest.mark.usefixtures("no_engine")
def test_a_full_queue_is_a_429_and_who_leaves_makes_room(house: House) -> None:
    """In the error model, with Retry-After, for a stream, too; the place of a client that leaves is
    free at once, whether it waits or reads.
    """
    house.serves("a", "b", queue=1)
    base = house.url.removesuffix("/v1")

    def health() -> dict[str, int]:
        answer: dict[str, int] = httpx.get(f"{base}/health").json()["models"]["a"]
        return answer

    def until(n: int) -> None:
        end = time.monotonic() + 10
        while (now := health())["answering"] + now["waiting"] != n:
            assert time.monotonic() < end
            time.sleep(0.01)

    reads = asks(house.url, {"model": "a", "prompt": "slow 30", "stream": True})
    until(1)
    assert reads.recv(4) == b"HTTP"
    waits = asks(house.url, {"model": "a", "prompt": "slow 30"})
    until(2)
    streams: tuple[dict[str, Any], ...] = ({}, {"stream": True})
    for more in streams:
        refused = house.ask("a", **more)
        error = refused.json()["error"]
        assert (refused.status_code, error["code"]) == (429, "queue_full")
        assert (error["type"], refused.headers["retry-after"]) == ("rate_limit_error", "1")
    client = openai.OpenAI(base_url=house.url, api_key="none", max_retries=0)
    with client, pytest.raises(openai.RateLimitError):
        client.completions.create(model="a", prompt="x")
    counted = httpx.post(f"{base}/tokenize", json={"model": "a", "content": "x"})
    assert counted.status_code == 200  # it waits for no slot
    assert house.ask("b").status_code == 200  # which has a queue of its own
    waits.close()
    until(1)
    assert house.ask("a").status_code == 200
    reads.close()
    until(0)
