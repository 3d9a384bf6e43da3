"""What people ask leaves no trace: not in what hakaru says, not in a file, not when the engine dies
in the middle of an answer.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from test_serving import Served

from ports import free_port

pytestmark = pytest.mark.engine

SECRET = "xyzzy-plugh"
KEY = "the-key-of-this-test-73"
COUNT = {"max_tokens": 900, "temperature": 0, "ignore_eos": True, "stream": True}


def ask(client: httpx.Client, text: str, **more: object) -> httpx.Response:
    """A conversation of one message."""
    message = {"role": "user", "content": text}
    return client.post("/chat/completions", json={"messages": [message], "max_tokens": 2, **more})


def files_of(*folders: Path) -> Iterator[tuple[Path, bytes]]:
    """Everything that lies in these folders, sockets aside."""
    for folder in folders:
        for path in folder.rglob("*"):
            if path.is_file():
                yield path, path.read_bytes()


def died_in_an_answer(served: Served, client: httpx.Client) -> None:
    """Kill the engine with SIGABRT while it answers, and wait until the next one is ready."""
    body = {"messages": [{"role": "user", "content": f"Count to {SECRET}"}], **COUNT}
    with client.stream("POST", "/chat/completions", json=body) as answer:
        for _ in answer.iter_lines():
            os.kill(served.engine_pid(), signal.SIGABRT)
            break
    deadline = time.monotonic() + 60
    while httpx.get(served.url.removesuffix("v1") + "health").status_code != 200:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_no_word_of_a_prompt_is_kept(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After answers, refusals of every kind, and a death in an answer: neither stdout, nor stderr,
    nor any file of data, cache, sockets or temporary files has the prompt, or the key.
    """
    monkeypatch.chdir(tmp_path)  # where a core dump would lie
    (tmp_path / "keys").write_text(KEY)
    served = Served(tiny, "--context", "1024", "--port", str(free_port()), "--api-key-file", "keys")
    with httpx.Client(
        base_url=served.url, headers={"Authorization": f"Bearer {KEY}"}, timeout=60
    ) as client:
        assert ask(client, SECRET).status_code == 200
        assert ask(client, SECRET * 2000).status_code == 400  # too long
        assert ask(client, SECRET, tools=SECRET).status_code == 400  # no such field
        assert ask(client, SECRET, model=5, messages=SECRET).status_code == 400
        assert client.post("/chat/completions", content=SECRET).status_code == 400  # no JSON
        assert httpx.post(f"{served.url}/chat/completions", json={"x": SECRET}).status_code == 401
        died_in_an_answer(served, client)
        assert ask(client, SECRET).status_code == 200
    chat = [sys.executable, "-m", "hakaru", "chat", "--port", str(served.port), "-p", SECRET]
    done = subprocess.run(
        [*chat, "--max-tokens", "2"], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    # while it runs, since what lies in the folder of sockets goes at the end
    found = dict(files_of(tmp_path))
    code, said = served.stop()
    found |= dict(files_of(tmp_path))
    assert code == 0
    assert "ended (signal 6)" in said
    del found[tmp_path / "keys"]
    assert any("serve-" in path.name for path in found)
    for path, content in found.items():
        assert SECRET.encode() not in content, path
        assert KEY.encode() not in content, path
    assert SECRET not in said + served.greeting
    assert KEY not in said + served.greeting
