"""What the gateway costs beside the bare engine, and whether a server stays as it is in a storm.

    python benchmarks/serving.py [MODEL] [--rounds 3] [--clients 1 4 16 64] [--storm 180]
    python benchmarks/serving.py [MODEL] [--rounds 3] [--clients 1 4 16 64] --backend

One `hakaru serve` runs; clients ask its gateway and its engine's own socket in turn, so that both
answer with the same process, and what slows the machine slows both. Then 64 clients storm the
gateway: whole answers, clients that leave, slow readers, large and wrong bodies. With `--backend`
there is one comparison only: `hakaru serve --backend` in front of that server, and the server
itself. The embedded model is taken without MODEL. The clients run on the same processors.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any, Final

import httpx
import psutil
from msgspec import Struct

from hakaru.engine.builds import server_build
from hakaru.hardware.probe import probe_machine
from hakaru.models.embedded import embedded_model

SLOTS, CONTEXT = 4, 4096
OPTIONS: Final = ("--parallel", str(SLOTS), "--context", str(CONTEXT))
PORT: Final = 8713
FEWEST: Final = 16  # requests of a round
STORM_CLIENTS: Final = 64
WARM_PART: Final = 0.25  # of a storm, before its memory counts
POLL_S: Final = 0.01
MIB: Final = 2**20


class Served(Struct, frozen=True):
    """A `hakaru serve` that answers."""

    process: psutil.Process
    socket: str  # of its engine

    def memory(self) -> int:
        """Bytes of all its processes; what they share counts once (PSS)."""
        all_ = [self.process, *self.process.children(recursive=True)]
        return sum(one.memory_full_info().pss for one in all_)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("model", nargs="?", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 4, 16, 64])
    parser.add_argument("--storm", type=float, default=180, help="seconds")
    parser.add_argument("--backend", action="store_true", help="a gateway before the server")
    asked = parser.parse_args()
    model, machine = asked.model or embedded_model(), probe_machine()
    print(f"{model.name}, {server_build()}, {machine.cpu.model}, {machine.cpu.usable_cores} cores")
    print(f"load before: {os.getloadavg()[0]:.1f}; {SLOTS} slots; {asked.rounds} rounds")
    if asked.backend:
        with served(model), running("--backend", f"http://127.0.0.1:{PORT}", port=PORT + 2):
            for n_clients in asked.clients:
                beside({"before": str(PORT + 2), "server": str(PORT)}, n_clients, asked.rounds)
        return
    with served(model) as server:
        for n_clients in asked.clients:
            beside({"gateway": str(PORT), "engine": server.socket}, n_clients, asked.rounds)
        if asked.storm:
            storm(server, model, asked.storm)
    print(f"load after: {os.getloadavg()[0]:.1f}")


@contextmanager
def served(model: Path, port: int = PORT) -> Iterator[Served]:
    """A server of `model`, once it has given a token."""
    with running(str(model), *OPTIONS, port=port) as (process, folder):
        (socket,) = folder.glob("**/http.sock")
        yield Served(psutil.Process(process.pid), str(socket))


@contextmanager
def running(*words: str, port: int) -> Iterator[tuple["subprocess.Popen[bytes]", Path]]:
    """`hakaru serve` with these words, once it has given a token, and the folder of its sockets."""
    with tempfile.TemporaryDirectory(prefix="b") as folder:
        process = subprocess.Popen(
            [sys.executable, "-m", "hakaru", "serve", *words, "--port", str(port)],
            env=os.environ | {"XDG_RUNTIME_DIR": folder},
            stdout=subprocess.DEVNULL,
        )
        try:
            first_token(port)
            yield process, Path(folder)
        finally:
            process.terminate()
            process.wait()


def first_token(port: int) -> None:
    """Return when a server has given one token."""
    body = {"prompt": "Hello", "max_tokens": 1}
    with httpx.Client(timeout=60) as client:
        while True:
            try:
                client.post(f"http://127.0.0.1:{port}/v1/completions", json=body).raise_for_status()
            except httpx.HTTPError:
                time.sleep(POLL_S)
            else:
                return


def asked_by(target: str, **work: Any) -> dict[str, Any]:
    """What clients in a process of their own found."""
    command = [sys.executable, "-m", "figures.clients", target, json.dumps(work)]
    done = subprocess.run(
        command, cwd=Path(__file__).parent, stdout=subprocess.PIPE, text=True, check=True
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def beside(targets: dict[str, str], n_clients: int, rounds: int) -> None:
    """Throughput and first token of two targets, in turn: through a gateway, and without it."""
    through, without = targets
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in targets}
    for number in range(rounds):
        for name in sorted(targets, reverse=bool(number % 2)):
            n_requests = max(FEWEST, n_clients)
            found[name].append(asked_by(targets[name], n_clients=n_clients, n_requests=n_requests))
    pairs = list(zip(found[through], found[without], strict=True))
    parts = [a["tokens_per_s"] / b["tokens_per_s"] for a, b in pairs]
    later = [1000 * (median(a["first_s"]) - median(b["first_s"])) for a, b in pairs]
    broken = {kind for a, b in pairs for kind in (*a["kinds"], *b["kinds"])} - {"answered"}
    print(
        f"{n_clients:3} clients: {through} {median(a['tokens_per_s'] for a, _ in pairs):6.1f} "
        f"tokens/s, {without} {median(b['tokens_per_s'] for _, b in pairs):6.1f}; part "
        f"{median(parts):.3f} ({min(parts):.3f} to {max(parts):.3f}); first token "
        f"{median(later):+.1f} ms ({min(later):+.1f} to {max(later):+.1f}); {broken or 'all whole'}"
    )


def storm(server: Served, model: Path, seconds: float) -> None:
    """What clients of all kinds got, and the memory of the server meanwhile."""
    planned = plan(model)
    command = [sys.executable, "-m", "figures.clients", str(PORT)]
    work = {"n_clients": STORM_CLIENTS, "seconds": seconds}
    began, memory = time.monotonic(), list[tuple[float, int]]()
    clients = subprocess.Popen(
        [*command, json.dumps(work)], cwd=Path(__file__).parent, stdout=subprocess.PIPE, text=True
    )
    while clients.poll() is None:
        memory.append((time.monotonic() - began, server.memory()))
        time.sleep(1)
    assert clients.stdout
    found = json.loads(clients.stdout.read())
    warm = [n for at, n in memory if at > WARM_PART * seconds]
    print(f"storm of {STORM_CLIENTS} clients for {seconds:.0f} s:")
    for kind, n in sorted(found["kinds"].items()):
        print(f"  {kind}: {n}")
    for kind, text in found["examples"].items():
        print(f"  example of {kind}: {text!r}")
    print(
        f"  memory {min(warm) / MIB:.0f} to {max(warm) / MIB:.0f} MiB after the first quarter, "
        f"{memory[-1][1] / MIB:.0f} at the end; planned {planned / MIB:.0f}"
    )
    first_token(PORT)
    print("  it answers afterwards")


def plan(model: Path) -> int:
    """Bytes that the server is planned with."""
    command = [sys.executable, "-m", "hakaru", "serve", str(model), *OPTIONS, "--dry-run", "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    total: int = json.loads(done.stdout)["fit"]["total_bytes"]
    return total


if __name__ == "__main__":
    main()
