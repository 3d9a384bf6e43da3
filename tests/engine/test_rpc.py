"""A native build lends its memory over the network: a worker holds layers of a model, and the
server answers as it does alone.
"""

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from hakaru.engine.environment import engine_environment
from hakaru.engine.log import buffer_bytes, is_host
from hakaru.engine.mode import Mode
from hakaru.engine.process import child_command
from hakaru.engine.server import server_request
from hakaru.engine.server_flags import server_flags
from hakaru.memory.settings import ContextSettings
from ports import free_port

SETTINGS = ContextSettings(n_ctx=256, n_ubatch=64)
PROMPT = {
    "prompt": "abc",
    "n_predict": 6,
    "temperature": 0,
    "cache_prompt": False,
    "ignore_eos": True,
    "return_tokens": True,
}


@pytest.fixture
def worker(native_engine: Path, tmp_path: Path) -> Iterator[str]:
    """The address of a worker on loopback that computes on this machine's processor."""
    port = free_port()
    command = child_command(
        "hakaru.engine.server_binary",
        str(native_engine / "ggml-rpc-server"),
        "-H",
        "127.0.0.1",
        "-p",
        str(port),
    )
    with (tmp_path / "worker.log").open("w") as log:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=log, stderr=log, env=engine_environment()
        )
        try:
            wait_until(lambda: "Accepting" in log_of(tmp_path) or answers(port), process)
            yield f"127.0.0.1:{port}"
        finally:
            process.kill()
            process.wait()
            assert process.stdin
            process.stdin.close()


def log_of(folder: Path) -> str:
    return (folder / "worker.log").read_text(errors="replace")


def answers(port: int) -> bool:
    with closing(socket.socket()) as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def wait_until(condition: Any, process: "subprocess.Popen[bytes]", seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, "the process ended"
        assert time.monotonic() < until, "it did not happen"
        time.sleep(0.05)


def served(
    folder: Path, model: Path, native_engine: Path, *more: str
) -> tuple[list[int], list[str]]:
    """The tokens that a server writes, and its log; `more` options behind ours."""
    folder.mkdir()
    path, log = folder / "http.sock", folder / "log"
    flags = server_flags(server_request(model, SETTINGS, socket=path, mode=Mode()), SETTINGS)
    command = child_command(
        "hakaru.engine.server_binary", str(native_engine / "llama-server"), *flags, *more
    )
    with log.open("w") as kept:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=kept, stderr=kept, env=engine_environment()
        )
        try:
            with httpx.Client(
                transport=httpx.HTTPTransport(uds=str(path)), base_url="http://engine", timeout=60
            ) as client:
                wait_until(lambda: path.exists() and is_ready(client), process)
                tokens = client.post("/completion", json=PROMPT).json()["tokens"]
        finally:
            process.kill()
            process.wait()
            assert process.stdin
            process.stdin.close()
    return tokens, log.read_text(errors="replace").splitlines()


def is_ready(client: httpx.Client) -> bool:
    try:
        return client.get("/health").status_code == 200
    except httpx.TransportError:
        return False


@pytest.mark.engine
def test_a_worker_holds_the_weights_and_gives_the_same_answer(
    native_engine: Path, worker: str, tiny: Path, tmp_path: Path
) -> None:
    """All layers go to the worker; the tokens are those of the server alone."""
    alone, log_alone = served(tmp_path / "alone", tiny, native_engine)
    shared, log_shared = served(
        tmp_path / "shared", tiny, native_engine, "--rpc", worker, "--n-gpu-layers", "99"
    )
    assert shared == alone
    assert len(alone) == 6
    assert far_bytes(log_alone) == 0
    assert far_bytes(log_shared) > 0


def far_bytes(log: list[str]) -> int:
    """Bytes of weights and cache that lie on no host of this process."""
    far = [
        line
        for line in log
        if " buffer size = " in line and not is_host(line.split(" buffer size")[0].split()[-2])
    ]
    sizes = buffer_bytes(far)
    return sizes["model"] + sizes["KV"]
