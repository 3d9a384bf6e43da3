"""A real vLLM, started as a plan says, on loopback."""

import json
import os
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil

from hakaru.vllm.launch import Launch
from ports import free_port

WITHIN_S = 300
"""A start, with other tests beside it."""
_QUIET = {
    "HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind", "OMP_NUM_THREADS": "1",
}  # fmt: skip


class Started:
    """All starts of one replica, and the URL of its server."""

    def __init__(self, url: str, log: Path, processes: Sequence["subprocess.Popen[bytes]"]) -> None:
        self.url, self.log, self.processes = url, log, processes

    def ask(self, prompt: str, n_tokens: int) -> str:
        """The greedy answer."""
        return ask(f"{self.url}/v1", prompt, n_tokens)


def ask(base_url: str, prompt: str, n_tokens: int) -> str:
    """The greedy answer of the server there."""
    body = {"model": "m", "prompt": prompt, "max_tokens": n_tokens, "temperature": 0}
    request = urllib.request.Request(
        f"{base_url}/completions",
        data=json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        return str(json.load(answer)["choices"][0]["text"])


@contextmanager
def started(
    python: str, model: Path, launches: Sequence[Launch], folder: Path
) -> Iterator[Started]:
    """The replica of `launches`, which gave a token; all its processes end with the block."""
    folder.mkdir()
    sockets = TemporaryDirectory(prefix="v", dir="/tmp")  # their paths have at most 107 bytes
    quiet = _QUIET | {"TMPDIR": sockets.name}
    ports = {"--port": free_port(), "--master-port": free_port()}
    processes = list[subprocess.Popen[bytes]]()
    try:
        for launch in launches:
            words = list(launch.arguments)
            for name, port in ports.items():
                if name in words:
                    words[words.index(name) + 1] = str(port)
            command = [python, "-m", "vllm.entrypoints.cli.main", "serve", str(model), *words]
            with (folder / f"{len(processes)}.log").open("wb") as log:
                processes.append(
                    subprocess.Popen(
                        [*command, "--served-model-name", "m"],
                        env={**os.environ, **quiet, **dict(launch.environment)},
                        stdout=log,
                        stderr=log,
                        cwd=folder,
                    )
                )
        server = Started(f"http://127.0.0.1:{ports['--port']}", folder / "0.log", processes)
        _wait(server)
        yield server
    finally:
        _end(processes)
        sockets.cleanup()


def _wait(server: Started) -> None:
    until = time.monotonic() + WITHIN_S
    while time.monotonic() < until:
        if any(process.poll() is not None for process in server.processes):
            break
        with suppress(urllib.error.URLError, OSError):
            server.ask("The", 1)
            return
        time.sleep(0.5)
    logs = [path.read_text(errors="replace") for path in sorted(server.log.parent.glob("*.log"))]
    raise AssertionError("\n".join(log[-3000:] for log in logs))


def _end(processes: Sequence["subprocess.Popen[bytes]"]) -> None:
    """Every process of every start, also those that a launcher would leave behind."""
    family = list[psutil.Process]()
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            whole = psutil.Process(process.pid)
            family += [whole, *whole.children(recursive=True)]
        process.send_signal(signal.SIGTERM)
    _, alive = psutil.wait_procs(family, timeout=10)
    for left in alive:
        with suppress(psutil.NoSuchProcess):
            left.kill()
    for process in processes:
        process.wait()
