"""A server that stays: whatever is sent to it, and whatever happens to its engine."""

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import psutil
import pytest
from test_serving import Served, served_from

from hakaru.testing import tiny_shape, write_tiny_llama
from ports import free_port

pytestmark = pytest.mark.engine
TURN = {"role": "user", "content": "Hello"}
TOOL = {"type": "function", "function": {"name": "sky", "parameters": {"type": "object"}}}
PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A tiny model."""
    folder = tmp_path_factory.mktemp("t")
    model = write_tiny_llama(folder / "tiny.gguf", tiny_shape(n_vocab=1024))
    found = served_from(folder, model, "--context", "512", "--alias", "our/model")
    yield found
    found.stop()


@pytest.fixture
def client(served: Served) -> Iterator[httpx.Client]:
    """A client that does not wait for ever."""
    with httpx.Client(base_url=served.url.removesuffix("/v1"), timeout=20) as client:
        yield client


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/chat/completions", {"messages": []}),
        ("/v1/chat/completions", {"messages": [{"content": "x"}]}),
        ("/v1/chat/completions", {"messages": [TURN], "tools": 5}),
        ("/v1/chat/completions", {"messages": [TURN], "tools": [5]}),
        ("/v1/chat/completions", {"messages": [TURN], "stop": 5}),
        ("/v1/chat/completions", {"messages": [TURN], "response_format": 5}),
        ("/v1/chat/completions", {"messages": [TURN], "logit_bias": 5}),
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": [PICTURE]}]}),
        ("/v1/chat/completions", {"messages": [TURN], "reasoning_format": "nonsense"}),
        ("/v1/chat/completions", {"messages": [{"role": "nobody", "content": "x"}]}),
        ("/v1/chat/completions", {"messages": [TURN], "temperature": -1}),
        ("/v1/chat/completions", {"messages": [TURN], "tools": [TOOL]}),
        ("/v1/completions", {"prompt": "x", "echo": True}),
        ("/v1/messages", {}),
        ("/v1/messages", {"messages": [TURN]}),
        ("/v1/messages", {"messages": [], "max_tokens": 1}),
        ("/v1/messages", {"messages": [TURN], "max_tokens": 1, "tools": 5}),
        ("/v1/messages", {"messages": [TURN], "max_tokens": 1, "system": 5}),
        ("/v1/responses", {"input": []}),
        ("/v1/responses", {"input": [5]}),
        ("/v1/completions", {"prompt": 5}),
        ("/v1/completions", {}),
        ("/tokenize", {"content": 5}),
        ("/detokenize", {"tokens": ["x"]}),
    ],
)  # fmt: skip
def test_what_is_no_request_is_a_400(client: httpx.Client, path: str, body: Any) -> None:
    """Where the engine takes it in silence, answers 500, or never ends."""
    answer = client.post(path, json=body)
    error = answer.json()["error"]
    assert answer.status_code == 400, answer.text
    assert error["type"] == "invalid_request_error" and error["message"] and error["code"]
    assert answer.json()["type"] == "error"  # for Anthropic's clients


LONG = "word " * 4000


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/messages", {"messages": [{"role": "user", "content": LONG}], "max_tokens": 1}),
        ("/v1/responses", {"input": LONG, "max_output_tokens": 1}),
        (
            "/v1/responses",
            {"input": [TURN, {"type": "function_call_output", "call_id": "1", "output": LONG}]},
        ),
        ("/v1/completions", {"prompt": LONG, "max_tokens": 1}),
    ],
)
def test_no_interface_cuts_a_prompt(client: httpx.Client, path: str, body: Any) -> None:
    """It is refused with both numbers."""
    answer = client.post(path, json=body)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (400, "context_length_exceeded"), answer.text
    assert error["n_prompt_tokens"] > error["n_ctx"] == 512


def test_the_other_interfaces_answer(client: httpx.Client) -> None:
    """Anthropic's, OpenAI's responses, and what counts tokens."""
    message = {"messages": [TURN], "max_tokens": 4}
    answer = client.post("/v1/messages", json=message).json()
    assert (answer["type"], answer["usage"]["output_tokens"]) == ("message", 4)
    counted = client.post("/v1/messages/count_tokens", json={"messages": [TURN]}).json()
    assert counted["input_tokens"] > 0
    for path, body in (
        ("chat/completions", {"messages": [TURN]}),
        ("responses", {"input": "Hello"}),
    ):
        again = client.post(f"/v1/{path}/input_tokens", json=body).json()
        assert again["input_tokens"] == counted["input_tokens"]
    answer = client.post("/v1/responses", json={"input": "Hello", "max_output_tokens": 4}).json()
    assert (answer["object"], answer["usage"]["output_tokens"]) == ("response", 4)
    tokens = client.post("/tokenize", json={"content": "Hello"}).json()["tokens"]
    assert client.post("/detokenize", json={"tokens": tokens}).json()["content"] == "Hello"
    events = [
        line.removeprefix("event: ")
        for line in client.post("/v1/messages", json={**message, "stream": True}).text.splitlines()
        if line.startswith("event: ")
    ]
    assert events[-1] == "message_stop"


def test_openai_s_own_client_puts_a_stream_of_a_response_together(served: Served) -> None:
    """It needs to know where each piece belongs, and why the answer ended."""
    client = openai.OpenAI(base_url=served.url, api_key="none", timeout=20)
    with client.responses.stream(
        model="our/model", input="Hello", max_output_tokens=4, temperature=0
    ) as stream:
        *events, end = list(stream)
    pieces = [event.delta for event in events if event.type == "response.output_text.delta"]
    assert end.type == "response.incomplete" and end.response.output_text == "".join(pieces)
    assert end.response.usage and end.response.usage.output_tokens == 4


def test_a_response_keeps_to_its_form_and_goes_on_with_a_conversation(served: Served) -> None:
    """As OpenAI's reference writes both; the engine drops the first and refuses the second."""
    client = openai.OpenAI(base_url=served.url, api_key="none", timeout=20)
    form: Any = {"type": "json_schema", "name": "a", "schema": {"const": "yes"}}
    answer = client.responses.create(
        model="our/model",
        input=[
            {"role": "user", "content": "Hello"},
            {"role": "assistant", "content": "Hi"},
            {"role": "user", "content": "Again"},
        ],
        text={"format": form},
        max_output_tokens=64,
    )
    assert answer.output_text.strip() == '"yes"'


SECRET = "Xq7secretword"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/completions", {"prompt": SECRET, "max_tokens": 2}),
        ("/v1/completions", {"prompt": SECRET, "max_tokens": 2, "grammar": f"root ::= {SECRET}"}),
        ("/v1/chat/completions", {"messages": [TURN | {"content": SECRET}], "max_tokens": 2}),
        (
            "/v1/chat/completions",
            {
                "messages": [TURN],
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"schema": {"type": SECRET}},
                },
            },
        ),
        ("/v1/chat/completions", {"messages": [TURN], "reasoning_format": SECRET}),
        ("/tokenize", {"content": SECRET}),
        ("/v1/completions", f'{{"prompt": "{SECRET}'),
    ],
)
def test_nothing_that_was_sent_stands_in_the_log(
    client: httpx.Client, served: Served, path: str, body: Any
) -> None:
    """Also where the engine quotes from what it refuses; the log tells the work all the same."""
    sent = body if isinstance(body, str) else json.dumps(body)
    client.post(path, content=sent, headers={"content-type": "application/json"})
    client.post("/v1/completions", json={"prompt": "Hello", "max_tokens": 2})
    log = Path(served.environment["XDG_STATE_HOME"], "hakaru", "log", f"serve-{served.port}.log")
    until = time.monotonic() + 5
    while "print_timing" not in log.read_text() and time.monotonic() < until:
        time.sleep(0.01)
    assert "print_timing" in log.read_text()
    assert SECRET not in log.read_text()


def test_the_one_model_is_told_by_its_name(client: httpx.Client) -> None:
    """And no other."""
    (model,) = client.get("/v1/models").json()["data"]
    assert client.get("/v1/models/our/model").json()["id"] == model["id"] == "our/model"
    answer = client.post("/v1/completions", json={"prompt": "Hello", "max_tokens": 1}).json()
    assert answer["model"] == "our/model"
    assert client.head("/v1/models").status_code == 200  # as who watches servers asks
    missing = client.get("/v1/models/another/one")
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "model_not_found")


def test_an_engine_that_hangs_is_not_called_ready(client: httpx.Client, served: Served) -> None:
    """And is ready again when it goes on."""
    engine = psutil.Process(served.engine_pid())
    engine.send_signal(signal.SIGSTOP)
    try:
        health = client.get("/health")
    finally:
        engine.send_signal(signal.SIGCONT)
    assert (health.status_code, health.json()["status"]) == (503, "silent")
    assert client.get("/health").json()["status"] == "ready"


def test_a_request_waits_for_an_engine_that_died(client: httpx.Client, served: Served) -> None:
    """It is answered by the next one."""
    os.kill(served.engine_pid(), signal.SIGKILL)
    while client.get("/health").json()["status"] == "ready":
        time.sleep(0.01)
    answer = client.post("/v1/completions", json={"prompt": "Hello", "max_tokens": 1})
    assert answer.status_code == 200, answer.text


def streamed(url: str, n_tokens: int) -> Iterator[str]:
    """The lines of an answer."""
    body = {"prompt": "Hello", "max_tokens": n_tokens, "stream": True, "ignore_eos": True}
    with httpx.stream("POST", f"{url}/completions", json=body, timeout=60) as answer:
        yield from answer.iter_lines()


@pytest.mark.parametrize(
    ("drain", "signals", "last"),
    [("60s", 1, "data: [DONE]"), ("0", 1, "server_stopped"), ("60s", 2, "server_stopped")],
)
def test_sigterm_lets_answers_end(embedded: Path, drain: str, signals: int, last: str) -> None:
    """As long as was said, unless a second signal comes. No new connection is let in."""
    served = Served(embedded, "--context", "512", "--drain", drain, "--port", str(free_port()))
    lines = streamed(served.url, 50 if last == "data: [DONE]" else 450)
    heard = [next(lines)]
    for i in range(signals):
        served.process.send_signal(signal.SIGTERM)
        time.sleep(0.5 if i + 1 < signals else 0)
    if last == "data: [DONE]":
        time.sleep(0.3)
        with pytest.raises(httpx.ConnectError):
            httpx.get(served.url + "/models")
    heard += [line for line in lines if line]
    out, err = served.process.communicate(timeout=30)
    assert last in heard[-1], heard[-1]
    assert served.process.returncode == 0, err
    assert ("1 answers on their way" in out + err) == (drain != "0")
    assert all("Traceback" not in text for text in (out, err))
    if last.startswith("data"):
        (choice,) = json.loads(heard[-2].removeprefix("data: "))["choices"]
        assert choice["finish_reason"] == "length"
