"""How long a start of `hakaru serve` takes beside its engine alone, up to the first token.

    python benchmarks/start.py [MODEL] [--rounds 9]

In turn: the engine's own process, by the command that hakaru would give (`--dry-run --json`), once
with llama.cpp's warm-up and once as hakaru starts it; `hakaru serve` the first time; and again,
when it knows how the engine was started (docs/decisions/0057). The embedded model is taken without
MODEL.
"""

import argparse
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Final

from hakaru.engine.builds import server_build
from hakaru.hardware.probe import probe_machine
from hakaru.models.embedded import embedded_model

PORT: Final = 8716
POLL_S: Final = 0.004
PATIENCE_S: Final = 300.0
BODY: Final = b'{"prompt": "Hello", "max_tokens": 1}'
REQUEST: Final = (
    b"POST /v1/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(BODY)
) + BODY


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("model", nargs="?", type=Path)
    parser.add_argument("--rounds", type=int, default=9)
    asked = parser.parse_args()
    model, machine = asked.model or embedded_model(), probe_machine()
    size = model.stat().st_size / 1e6
    print(
        f"{model.name} ({size:.0f} MB), {server_build()}, {machine.cpu.model}, "
        f"{machine.cpu.usable_cores} cores, load {os.getloadavg()[0]:.1f}"
    )
    with tempfile.TemporaryDirectory(prefix="s") as place:
        os.environ |= {"XDG_RUNTIME_DIR": place, "XDG_CACHE_HOME": f"{place}/cache"}
        starts: dict[str, Callable[[], float]] = {
            "engine": lambda: engine(model, Path(place), warms_up=True),
            "engine, no warm-up": lambda: engine(model, Path(place), warms_up=False),
            "first": lambda: first(model, Path(place)),
            "again": lambda: whole(model),
        }
        found: dict[str, list[float]] = {name: [] for name in starts}
        for number in range(asked.rounds + 1):
            for name, start in starts.items():
                took_s = start()
                if number:  # the first round fills caches and the ledger
                    found[name].append(took_s)
    for name, all_s in found.items():
        parts = [a / b for a, b in zip(all_s, found["engine"], strict=True)]
        print(
            f"{name:20} {median(all_s):.3f} s (at least {min(all_s):.3f}); {median(parts):.2f} "
            f"times the engine's ({min(parts):.2f} to {max(parts):.2f})"
        )


def engine(model: Path, place: Path, *, warms_up: bool) -> float:
    """The seconds of the engine's own process."""
    words = [sys.executable, "-m", "hakaru", "serve", str(model), "--dry-run", "--json"]
    done = subprocess.run(words, stdout=subprocess.PIPE, check=True)
    folder = place / "engine"
    folder.mkdir(exist_ok=True)
    address = folder / "http.sock"
    address.unlink(missing_ok=True)
    command = [
        word.replace("FOLDER/SOCKET", str(address)).replace("FOLDER", str(folder))
        for word in json.loads(done.stdout)["command"]
    ]
    if warms_up:
        command = [word.replace(', "warms_up": false', "") for word in command]
        command = [word for word in command if word != "--no-warmup"]

    def connected() -> socket.socket:
        knock = socket.socket(socket.AF_UNIX)
        knock.connect(str(address))
        return knock

    return seconds_of(command, connected)


def first(model: Path, place: Path) -> float:
    """The seconds of a `hakaru serve` that was never started so."""
    shutil.rmtree(place / "cache/hakaru/starts", ignore_errors=True)
    return whole(model)


def whole(model: Path) -> float:
    """The seconds of `hakaru serve`."""
    command = [sys.executable, "-m", "hakaru", "serve", str(model), "--port", str(PORT)]
    return seconds_of(command, lambda: socket.create_connection(("127.0.0.1", PORT)))


def seconds_of(command: list[str], connected: Callable[[], socket.socket]) -> float:
    """From the start of `command` to one token; it is ended then."""
    began = time.monotonic()
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        while not has_token(connected):
            assert process.poll() is None, command
            assert time.monotonic() - began < PATIENCE_S, command
            time.sleep(POLL_S)
        return time.monotonic() - began
    finally:
        process.terminate()
        process.wait()


def has_token(connected: Callable[[], socket.socket]) -> bool:
    """Whether the server gives a token; False where nobody listens yet."""
    try:
        with connected() as connection:
            connection.sendall(REQUEST)
            return connection.recv(2**16).startswith(b"HTTP/1.1 200")
    except OSError:
        return False


if __name__ == "__main__":
    main()
