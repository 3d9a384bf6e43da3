"""Serving: a real engine behind the gateway, real clients in front, and a kill -9 in the middle."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import openai
import psutil
import pytest

from hakaru.errors import EngineDied, EngineRefused, MachineError
from hakaru.memory.settings import ContextSettings
from hakaru.places import run_dir
from hakaru.servers import Deployment, running
from hakaru.serving.conversation import Conversation
from hakaru.serving.port import bound_socket
from hakaru.serving.supervisor import Supervisor
from hakaru.testing import write_tiny_llama
from ports import free_port

pytestmark = pytest.mark.engine


class Served:
    """`hakaru serve` in a process of its own, as a person starts it."""

    def __init__(self, model: Path, *arguments: str) -> None:
        self.environment = dict(os.environ)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "hakaru", "serve", str(model), *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout
        self.greeting = self.process.stdout.readline()
        self.url = (
            self.greeting.split(" answers at ")[1].split()[0]
            if " answers at " in self.greeting
            else ""
        )

    @property
    def port(self) -> int:
        return int(self.url.split(":")[2].split("/")[0])

    def engine_pid(self) -> int:
        children = psutil.Process(self.process.pid).children(recursive=True)
        return [  # the last: above it stand bubblewrap's, whose commands name it, too
            c.pid for c in children if "hakaru.engine.server_child" in " ".join(c.cmdline())
        ][-1]

    def stop(self, how: int = signal.SIGINT) -> tuple[int, str]:
        self.process.send_signal(how)
        out, err = self.process.communicate(timeout=20)
        return self.process.returncode, out + err


@pytest.fixture(scope="module")
def served(embedded: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The embedded model, served for all tests of this file."""
    found = served_from(tmp_path_factory.mktemp("t"), embedded, "--context", "1024")
    yield found
    found.stop()


def served_from(folder: Path, model: Path, *arguments: str) -> Served:
    """A server for all tests of a file, whose files lie in `folder`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(folder))
        patch.setenv("XDG_STATE_HOME", str(folder))
        patch.delenv("XDG_RUNTIME_DIR", raising=False)
        found = Served(model, *arguments, "--port", str(free_port()))
    assert found.url, found.process.communicate()
    return found


def test_the_openai_client_gets_a_streamed_chat_completion(served: Served) -> None:
    """Pieces arrive, and together they are an answer."""
    with openai.OpenAI(base_url=served.url, api_key="none") as client:
        (model,) = client.models.list().data
        assert model.id == "SmolLM2-135M-Instruct.Q4_1"
        stream = client.chat.completions.create(
            model=model.id,
            messages=[{"role": "user", "content": "What is the capital of France?"}],
            stream=True,
            max_tokens=24,
            temperature=0,
        )
        pieces = [chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices]
    assert len(pieces) > 3
    assert len("".join(pieces)) > 10


def test_a_prompt_that_is_too_long_is_refused_with_both_numbers(served: Served) -> None:
    """Never truncated in silence."""
    with (
        openai.OpenAI(base_url=served.url, api_key="none", max_retries=0) as client,
        pytest.raises(openai.BadRequestError) as caught,
    ):
        client.chat.completions.create(
            model="m", messages=[{"role": "user", "content": "word " * 3000}]
        )
    body = caught.value.body
    assert isinstance(body, dict)
    assert body["code"] == "context_length_exceeded"
    assert body["n_prompt_tokens"] > body["n_ctx"] == 1024


def test_only_this_machine_and_only_the_api(served: Served) -> None:
    """A foreign Host header is refused, other paths do not exist, no CORS header is sent, bad JSON
    is a 400.
    """
    with httpx.Client(base_url=served.url.removesuffix("/v1")) as client:
        rebound = client.get("/v1/models", headers={"Host": "evil.example:80"})
        assert (rebound.status_code, rebound.json()["error"]["code"]) == (403, "forbidden_host")
        for path in ("/completion", "/lora-adapters", "/v1/props"):
            assert client.get(path).status_code == 404
        (slot,), props = client.get("/slots").json(), client.get("/props").json()
        assert slot["n_ctx"] == props["default_generation_settings"]["n_ctx"] == 1024
        assert client.get("/v1/chat/completions").status_code == 405
        health = client.get("/health")
        assert health.json()["status"] == "ready"
        models = client.get("/v1/models", headers={"Origin": "http://localhost:3000"})
        assert not [
            h for h in (*health.headers, *models.headers) if h.lower().startswith("access-control")
        ]
        elsewhere = client.post(
            "/v1/chat/completions", json={}, headers={"Origin": "http://evil.example"}
        )
        assert (elsewhere.status_code, elsewhere.json()["error"]["code"]) == (
            403,
            "forbidden_origin",
        )
        assert client.get("/v1/models", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403
        assert client.get("/v1/models", headers={"Host": "evil.example]"}).status_code == 403
        assert (
            client.get("/v1/models", headers={"Origin": served.url.removesuffix("/v1")}).status_code
            == 200
        )
        broken = client.post(
            "/v1/chat/completions", content=b"{", headers={"Content-Type": "application/json"}
        )
        assert broken.status_code in {400, 500}
        assert set(broken.json()["error"]) >= {"message", "type", "param", "code"}
        assert "llamacpp:prompt_tokens_total" in client.get("/metrics").text


def test_a_request_that_is_too_large_is_refused_before_it_is_read(served: Served) -> None:
    """The declared length is enough to say no."""
    with socket.create_connection(("127.0.0.1", served.port), timeout=5) as raw:
        raw.sendall(
            b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: "
            b"1073741824\r\n\r\n"
        )
        assert raw.recv(4096).startswith(b"HTTP/1.1 413")


def test_a_killed_engine_breaks_a_stream_loudly_and_comes_back(served: Served) -> None:
    """kill -9: the stream ends with an error event, health says so, and soon the same URL answers
    again.
    """
    request = {
        "messages": [{"role": "user", "content": "Count to one hundred."}],
        "stream": True,
        "max_tokens": 400,
        "temperature": 0,
    }
    events: list[str] = []
    with httpx.Client(base_url=served.url, timeout=30) as client:
        with client.stream("POST", "/chat/completions", json=request) as response:
            for line in response.iter_lines():
                if line.startswith("data: "):
                    events.append(line[6:])
                    if len(events) == 3:
                        os.kill(served.engine_pid(), signal.SIGKILL)
        assert json.loads(events[-1])["error"]["code"] == "engine_died"
        deadline = time.monotonic() + 20
        health: dict[str, object] = {}
        while health.get("status") != "ready" or not health.get("restarts"):
            assert time.monotonic() < deadline, health
            time.sleep(0.1)
            health = client.get(served.url.removesuffix("/v1") + "/health").json()
        answer = client.post(
            "/chat/completions", json={**request, "stream": False, "max_tokens": 4}
        )
        assert answer.status_code == 200


def test_a_port_in_use_is_one_sentence(served: Served, embedded: Path) -> None:
    """Asked for by name it is refused with exit code 1; not asked for, another one is found."""
    second = Served(embedded, "--port", str(served.port), "--context", "512")
    _, err = second.process.communicate(timeout=20)
    assert second.process.returncode == 1
    assert f"port {served.port} of 127.0.0.1 cannot be used" in err
    assert "Traceback" not in err
    with pytest.raises(MachineError):
        bound_socket(served.port)
    with bound_socket(None) as listener:
        assert listener.getsockname()[0] == "127.0.0.1"


def test_chat_asks_the_running_server(served: Served) -> None:
    """`hakaru chat -p` finds the server, streams an answer and tells its speed on stderr."""
    question = "What is the capital of France?"
    chat = [sys.executable, "-m", "hakaru", "chat", "--max-tokens", "32", "-p", question]
    done = subprocess.run(
        [*chat, "--port", str(served.port)],
        env=served.environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    assert "tokens/s)" in done.stderr
    missing = subprocess.run(
        [*chat, "--port", "1"], env=served.environment, capture_output=True, text=True, check=False
    )
    assert (missing.returncode, "no hakaru server runs at port 1" in missing.stderr) == (2, True)


def test_an_endless_answer_is_stopped(served: Served) -> None:
    """After `--max-tokens`; of a pipe every line belongs to the question."""
    chat = [sys.executable, "-m", "hakaru", "chat", "--max-tokens", "5"]
    done = subprocess.run(
        [*chat, "--port", str(served.port)],
        env=served.environment,
        input="Count to a hundred:\n1, 2, 3, 4, 5, 6, 7, 8,\n",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("[stopped after 5 tokens") == 1
    assert "hakaru:" not in done.stderr and done.stdout.strip()


def test_chat_with_a_model_needs_no_server(tiny: Path) -> None:
    """It starts an engine of its own, and ends it."""
    chat = [sys.executable, "-m", "hakaru", "chat", str(tiny), "-p", "hello", "--port", "1"]
    done = subprocess.run(chat, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr


def test_a_conversation_with_a_server_that_is_gone_is_one_sentence() -> None:
    """No traceback of an HTTP library."""
    with (
        httpx.Client(base_url=f"http://127.0.0.1:{free_port()}/v1/") as client,
        pytest.raises(EngineRefused, match="did not answer"),
    ):
        list(Conversation(client, "m").ask("hello"))


def test_a_client_that_leaves_frees_the_engine(served: Served) -> None:
    """Also one that did not ask for a stream: the next request does not wait for its answer."""
    long = {
        "messages": [{"role": "user", "content": "Count."}],
        "max_tokens": 900,
        "temperature": 0,
        "ignore_eos": True,
    }
    with httpx.Client(base_url=served.url) as client:
        with pytest.raises(httpx.ReadTimeout):
            client.post("/chat/completions", json=long, timeout=0.7)
        began = time.monotonic()
        assert (
            client.post("/chat/completions", json={**long, "max_tokens": 1}, timeout=30).status_code
            == 200
        )
        assert time.monotonic() - began < 9  # the whole answer would take twelve on an idle machine


def test_ctrl_c_ends_the_server_and_its_engine(tiny: Path) -> None:
    """No orphan, no record, no socket left behind."""
    found = Served(tiny, "--context", "256", "--port", str(free_port()))
    engine = psutil.Process(found.engine_pid())
    code, said = found.stop()
    assert code == 0
    assert "Stopped." in said
    assert "Traceback" not in said
    assert not engine.is_running() or engine.status() == psutil.STATUS_ZOMBIE
    assert running() == []


def test_sigterm_ends_the_server_in_order_too(tiny: Path) -> None:
    """As a service manager sends it: no record, no socket, no engine left."""
    found = Served(tiny, "--context", "256", "--port", str(free_port()))
    engine = psutil.Process(found.engine_pid())
    code, said = found.stop(signal.SIGTERM)
    assert code == 0, said
    assert "Stopped." in said
    assert list(run_dir().glob("serve-*")) == []
    assert list(run_dir().glob("engine-*")) == []
    assert not engine.is_running() or engine.status() == psutil.STATUS_ZOMBIE


def test_an_engine_that_keeps_dying_ends_the_server_with_its_reason(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After five deaths within a minute starting again does not help: the reason is kept, and
    somebody is told.
    """
    monkeypatch.setattr("hakaru.serving.supervisor.FIRST_PAUSE_S", 0.0)
    said: list[str] = []
    supervisor, given_up = (
        Supervisor(tiny, ContextSettings(n_ctx=256), on_event=said.append),
        threading.Event(),
    )
    supervisor.on_failed = given_up.set
    supervisor.start()
    while not given_up.wait(0.05):
        if supervisor.state == "ready":
            supervisor.server.process.kill()
    assert supervisor.state == "failed"
    assert supervisor.death
    assert "signal 9" in str(supervisor.death)
    assert len(said) == 5
    supervisor.stop()


def test_a_killed_server_leaves_no_engine(tiny: Path) -> None:
    """kill -9 of hakaru itself: the engine's stdin closes, and it leaves too."""
    found = Served(tiny, "--context", "256", "--port", str(free_port()))
    engine = psutil.Process(found.engine_pid())
    found.stop(signal.SIGKILL)
    psutil.wait_procs([engine], timeout=10)
    assert not engine.is_running()
    assert running() == []


def test_an_engine_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A chat template that never ends is a stranger's code: there is a deadline, and nothing stays
    behind.
    """
    monkeypatch.setattr("hakaru.testing.CHATML", "{% for m in range(100000000) %}{% endfor %}x")
    monkeypatch.setattr("hakaru.engine.server.READY_WITHIN_S", 2.0)
    with pytest.raises(EngineDied, match=r"did not become ready with .*endless.gguf within 2 s"):
        Supervisor(write_tiny_llama(tmp_path / "endless.gguf"), ContextSettings(n_ctx=256)).start()
    commands = [
        " ".join(c.cmdline())
        for c in psutil.Process().children(recursive=True)
        if c.status() != psutil.STATUS_ZOMBIE
    ]
    assert not [c for c in commands if "endless.gguf" in c]


def test_a_killed_parent_takes_a_loading_engine_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also while C code holds the interpreter: the kernel ends it."""
    monkeypatch.setattr("hakaru.testing.CHATML", "{% for m in range(100000000) %}{% endfor %}x")
    endless = write_tiny_llama(tmp_path / "endless.gguf")
    parent = subprocess.Popen(
        [sys.executable, "-m", "hakaru", "chat", str(endless), "-p", "x"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 20

    def loading() -> list[psutil.Process]:
        with suppress(psutil.Error):  # a child that has just ended
            below = psutil.Process(parent.pid).children(recursive=True)
            return [child for child in below if "endless.gguf" in " ".join(child.cmdline())]
        return []

    while not (children := loading()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    time.sleep(1)
    parent.kill()
    parent.wait()
    _, alive = psutil.wait_procs(children, timeout=5)
    assert not alive


def test_an_engine_that_does_not_come_up_says_why(tmp_path: Path) -> None:
    """A damaged file that reached the engine: its own reason, as EngineDied."""
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF" + bytes(100))
    with pytest.raises(EngineDied, match="ended"):
        Supervisor(broken, ContextSettings(n_ctx=256)).start()


def test_a_record_of_a_dead_server_is_removed() -> None:
    """`running` tells the truth."""
    record = run_dir() / "serve-1.json"
    record.write_text(
        json.dumps({"pid": 1, "started": 5.0, "port": 1, "model": "m", "path": "p", "settings": {}})
    )
    assert running() == []
    assert not record.exists()
    assert (
        Deployment(pid=1, started=0.0, port=8600, model="m", path="p", settings={}).url
        == "http://127.0.0.1:8600/v1"
    )
