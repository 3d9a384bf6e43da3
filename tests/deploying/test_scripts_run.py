"""The scripts of `hakaru deploy --target rpc`, run: real workers behind real tunnels."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest

from hakaru.deploying.deploy import deploy
from hakaru.deploying.token_probe import token_probe
from ports import free_port
from ssh_stand_in import is_open, sshd

CLUSTER = """
[[node]]
name = "desk"
address = "127.0.0.1"
hardware = "16GiB RAM"

[[node]]
name = "attic"
address = "192.0.2.7"
hardware = "8GiB RAM"
ssh = "far"
port = {port}
"""


@contextmanager
def running(script: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The script, as a terminal runs it; Ctrl-C ends it."""
    process = subprocess.Popen([script], start_new_session=True)
    try:
        yield process
    finally:
        os.killpg(process.pid, signal.SIGINT)
        process.wait(20)


def wait_for(port: int, *, opens: bool = True) -> None:
    """Until somebody listens there, or nobody does any more; at most 20 seconds."""
    until = time.monotonic() + 20
    while is_open(port) is not opens:
        assert time.monotonic() < until
        time.sleep(0.05)


@pytest.mark.engine
def test_the_scripts_serve_through_a_tunnel_and_leave_nothing(
    native_engine: Path, embedded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The probe gets its token at the head's port; after Ctrl-C no server, tunnel or worker is
    left.
    """
    worker, server, out = free_port(), free_port(), tmp_path / "out"
    cluster = tmp_path / "cluster.toml"
    cluster.write_text(CLUSTER.format(port=worker))
    bundle = deploy(
        embedded, cluster=cluster, target="rpc", n_ctx=512, port=server,
        programs=str(native_engine), topology="layer_split",
    )  # fmt: skip
    bundle.write(out)
    with sshd(tmp_path, monkeypatch), ExitStack() as stack:
        stack.enter_context(running(out / "attic.sh"))
        wait_for(worker)
        with running(out / "desk.sh"):
            url = f"http://127.0.0.1:{server}"
            wait_for(server)
            probe = token_probe(url, embedded.stem, within_s=20)
            until = time.monotonic() + 30
            while subprocess.run(probe, capture_output=True, check=False).returncode:
                assert time.monotonic() < until
                time.sleep(0.1)
            question = {"prompt": "The capital of France is", "max_tokens": 4, "temperature": 0}
            told = httpx.post(f"{url}/v1/completions", json=question, timeout=60).json()
            assert "Paris" in told["choices"][0]["text"]
        for port in (server, 50053):
            wait_for(port, opens=False)
    wait_for(worker, opens=False)
