"""What a network adds to llama.cpp's RPC, against what `hakaru fit --cluster` predicts.

    python benchmarks/cluster.py [MODEL] [--rounds 5] [--delays 0.1 1 10] [--tokens 32]

Three servers of one model are asked in turn: one on this machine alone, one whose two workers are
on loopback, and one whose workers live in two network namespaces, each at the end of a wire of ours
that holds every packet back (two TUN devices: not every kernel has netem). The prediction for the
last is the time of the second, which computes the same with the same messages, plus the network's
time by `planning.network_time`, for the round trip and the bandwidth that are measured through that
wire. All that computes has one processor, and all that carries another: threads that wait for each
other would take the time of the wire, which other machines do not. The embedded model is taken
without MODEL. Needs root, iproute2, /dev/net/tun and a native engine (HAKARU_ENGINE=native or a
folder); without them it says so and ends.
"""

import argparse
import fcntl
import os
import select
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from statistics import median
from typing import Any, Final

import httpx
from msgspec.structs import replace

from hakaru.clusters.cluster import Cluster, Link
from hakaru.clusters.cluster_file import read_cluster
from hakaru.engine.builds import selection
from hakaru.engine.mode import Mode
from hakaru.engine.rpc_worker import rpc_worker
from hakaru.engine.server import EngineServer
from hakaru.evaluation.served import laid_out
from hakaru.models.embedded import embedded_model
from hakaru.models.sources.find import find_model
from hakaru.planning.answer import Fit
from hakaru.planning.fit import fit
from hakaru.planning.network_time import NetworkTime, network_time
from hakaru.planning.speed import USUAL

PROMPT: Final = 128  # tokens
CONTEXT: Final = 2048
PORTS: Final = (50_531, 50_532)  # of the workers on loopback
PORT: Final = 50_533  # of each in a namespace
SINK_PORT: Final = 50_534
STREAM_BYTES: Final = 2**24
NAMES: Final = ("hakaru-bench-0", "hakaru-bench-1")
HERE: Final = ("10.78.0.1", "10.78.1.1")
THERE: Final = ("10.78.0.2", "10.78.1.2")
MTU: Final = 9000
CARRIES, COMPUTES = 0, 1  # the processors for the wire and the head, and for what computes
TUN: Final = "/dev/net/tun"
TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x1, 0x1000  # linux/if_tun.h
SINK: Final = f"""
import socket
with socket.create_server(("0.0.0.0", {SINK_PORT})) as server:
    while True:
        connection, _ = server.accept()
        n = 0
        while n < {STREAM_BYTES}:
            n += len(connection.recv(1 << 20)) or {STREAM_BYTES}
        connection.sendall(b"0")
        connection.close()
"""
NODES: Final = """
[[node]]
name = "head"
address = "127.0.0.1"
hardware = "16GiB RAM"
[[node]]
name = "near"
address = "10.78.0.2"
hardware = "8GiB RAM"
[[node]]
name = "far"
address = "10.78.1.2"
hardware = "4GiB RAM"
"""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--delays", type=float, nargs="+", default=[0.1, 1.0, 10.0], metavar="MS")
    parser.add_argument("--tokens", type=int, default=32)
    options = parser.parse_args()
    if reason := why_not():
        print(f"skipped: {reason}")
        return
    os.sched_setaffinity(0, {CARRIES})
    path = find_model(options.model).path if options.model else embedded_model()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        file = Path(folder) / "cluster.toml"
        file.write_text(NODES, encoding="utf-8")
        cluster, plan = read_cluster(file), fit(path, cluster=file, n_ctx=CONTEXT)
        laid = stack.enter_context(wires())
        servers = started(stack, plan)
        print(f"{plan.model.name}, {plan.placement.layout.counts} layers on two workers")
        compare(servers, cluster, plan, options, laid)


def why_not() -> str:
    """Why nothing can be measured here; empty if it can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    if not shutil.which("ip"):
        return "iproute2 (ip) is not installed"
    if not Path(TUN).exists():
        return f"this kernel has no {TUN}"
    if not {CARRIES, COMPUTES} <= os.sched_getaffinity(0):
        return "two processors are needed"
    if selection().server.rpc_server is None:
        return "the engine in use has no RPC; set HAKARU_ENGINE=native"
    return ""


def run(*words: str) -> None:
    """A command that must succeed."""
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)


class Wire:
    """Two ends of a line, `delay_s` long in each direction. Each end is a TUN device."""

    def __init__(self, names: Sequence[str]) -> None:
        self.delay_s = 0.0
        self._ends = [_tun(name) for name in names]
        self._closes = threading.Event()
        ways = (self._ends, self._ends[::-1])
        self._threads = [threading.Thread(target=self._carry, args=way) for way in ways]
        for thread in self._threads:
            thread.start()

    def _carry(self, source: int, sink: int) -> None:
        # nobody else on this processor may hold a packet back
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(10))
        held = deque[tuple[float, bytes]]()
        while not self._closes.is_set():
            wait_s = max(0.0, held[0][0] - time.monotonic()) if held else 0.1
            if select.select([source], [], [], wait_s)[0]:
                packet = os.read(source, 2**16)
                held.append((time.monotonic() + self.delay_s, packet))
            while held and held[0][0] <= time.monotonic():
                with suppress(OSError):  # the other end is not up yet
                    os.write(sink, held.popleft()[1])

    def close(self) -> None:
        """Take both ends away."""
        self._closes.set()
        for thread in self._threads:
            thread.join()
        for end in self._ends:
            os.close(end)


def _tun(name: str) -> int:
    end = os.open(TUN, os.O_RDWR)
    fcntl.ioctl(end, TUNSETIFF, struct.pack("16sH14x", name.encode(), IFF_TUN | IFF_NO_PI))
    return end


@contextmanager
def wires() -> Iterator[list[Wire]]:
    """A wire to each of two network namespaces."""
    laid = list[Wire]()
    try:
        for i, name in enumerate(NAMES):
            near, far = f"hkbench{i}", f"hkfar{i}"
            run("ip", "netns", "add", name)
            laid.append(Wire((near, far)))
            run("ip", "link", "set", far, "netns", name)
            for where, card, own, other in (
                ((), near, HERE[i], THERE[i]),
                (("-n", name), far, THERE[i], HERE[i]),
            ):
                run("ip", *where, "addr", "add", own, "peer", other, "dev", card)
                run("ip", *where, "link", "set", card, "mtu", str(MTU), "up")
            run("ip", "-n", name, "link", "set", "lo", "up")
        yield laid
    finally:
        for wire in laid:
            wire.close()
        for name in NAMES:
            with suppress(subprocess.CalledProcessError):
                run("ip", "netns", "del", name)


def link_to(address: str) -> Link:
    """Round trip, that of opening a connection, which the kernel answers; and bandwidth."""
    times = []
    for _ in range(9):
        began = time.perf_counter()
        socket.create_connection((address, SINK_PORT)).close()
        times.append(time.perf_counter() - began)
    ping_s = median(times)
    began = time.perf_counter()
    with socket.create_connection((address, SINK_PORT)) as stream:
        stream.sendall(bytes(STREAM_BYTES))
        stream.recv(1)
    seconds = time.perf_counter() - began - 2 * ping_s
    return Link(gbit_per_s=8 * STREAM_BYTES / seconds / 1e9, ping_ms=1000 * ping_s)


def started(stack: ExitStack, plan: Fit) -> dict[str, EngineServer]:
    """The three servers."""
    ways = {
        "loopback": tuple(f"127.0.0.1:{port}" for port in PORTS),
        "network": tuple(f"{address}:{PORT}" for address in THERE),
    }
    spread = replace(laid_out(plan, Mode()), n_threads=1)
    with computing():
        for port in PORTS:
            stack.enter_context(rpc_worker("127.0.0.1", port))
        for name, address in zip(NAMES, THERE, strict=True):
            stack.enter_context(worker_in(name, address))
        alone = stack.enter_context(EngineServer(plan.model.path, plan.settings, Mode(n_threads=1)))
    for name in NAMES:
        stack.enter_context(sink_in(name))
    return {"one machine": alone} | {
        name: stack.enter_context(
            EngineServer(plan.model.path, plan.settings, replace(spread, rpc=rpc))
        )
        for name, rpc in ways.items()
    }


@contextmanager
def computing() -> Iterator[None]:
    """What is started in the block stays on the processor that computes."""
    os.sched_setaffinity(0, {COMPUTES})
    try:
        yield
    finally:
        os.sched_setaffinity(0, {CARRIES})


@contextmanager
def worker_in(namespace: str, address: str) -> Iterator[None]:
    """A worker in a namespace, by hakaru's own command."""
    words = f"cluster worker --json --host {address} --port {PORT} --trust-network"
    command = ["ip", "netns", "exec", namespace, sys.executable, "-P", "-m", "hakaru"]
    with subprocess.Popen(
        [*command, *words.split()],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdin and process.stdout
        if "{" not in process.stdout.readline():
            raise SystemExit(f"no worker came up in {namespace}")
        yield
        process.stdin.close()


@contextmanager
def sink_in(namespace: str) -> Iterator[None]:
    """Somebody in a namespace who takes a stream and says when all of it has come."""
    command = ["ip", "netns", "exec", namespace, sys.executable, "-c", SINK]
    with subprocess.Popen(command) as process:
        time.sleep(0.5)
        yield
        process.kill()


def timed(server: EngineServer, n_tokens: int) -> tuple[float, float]:
    """Milliseconds of each token, and of a prompt of PROMPT tokens."""
    question: dict[str, Any] = {
        "prompt": list(range(100, 100 + PROMPT)),
        "n_predict": n_tokens,
        "cache_prompt": False,
        "ignore_eos": True,
        "temperature": 0,
    }
    with server.client() as client:
        answer: httpx.Response = client.post("/completion", json=question)
    told = answer.json()["timings"]
    return told["predicted_per_token_ms"], told["prompt_ms"]


def compare(
    servers: dict[str, EngineServer],
    cluster: Cluster,
    plan: Fit,
    options: argparse.Namespace,
    laid: Sequence[Wire],
) -> None:
    """All ways in turn, and the table."""
    links: dict[float, list[Link]] = {ms: [] for ms in options.delays}
    rows: dict[str | float, list[tuple[float, float]]] = {}
    for server in servers.values():
        timed(server, 2)  # graphs and buffers of this shape
    for _ in range(options.rounds):
        for name in ("one machine", "loopback"):
            rows.setdefault(name, []).append(timed(servers[name], options.tokens))
        for ms in options.delays:
            for wire in laid:
                wire.delay_s = ms / 2000
            links[ms] += map(link_to, THERE)
            rows.setdefault(ms, []).append(timed(servers["network"], options.tokens))
    print("| way | tokens/s | ms a token | predicted | off | prompt, ms | predicted | off |")
    print("|---|---|---|---|---|---|---|---|")
    base = medians(rows["loopback"])
    for way, times in rows.items():
        found = medians(times)
        cells = [f"{1000 / found[0]:.1f}", f"{found[0]:.1f}", "-", "-", f"{found[1]:.0f}", "-", "-"]
        title = str(way)
        if isinstance(way, float):
            link = Link(
                gbit_per_s=median(one.gbit_per_s for one in links[way]),
                ping_ms=median(one.ping_ms for one in links[way]),
            )
            network = network_at(cluster, plan, link, options.tokens)
            added = 1000 * network.token_s, 1000 * network.prompt_s
            wanted = [one + more for one, more in zip(base, added, strict=True)]
            off = [f"{told / real - 1:+.0%}" for told, real in zip(wanted, found, strict=True)]
            cells[2:4] = f"{wanted[0]:.1f}", off[0]
            cells[5:] = f"{wanted[1]:.0f}", off[1]
            title = f"{way:g} ms: {link.ping_ms:.2f} ms, {link.gbit_per_s:.2g} Gbit/s"
        print(f"| {title} | {' | '.join(cells)} |")


def medians(times: Sequence[tuple[float, float]]) -> list[float]:
    """Of each column."""
    return [median(one[i] for one in times) for i in range(2)]


def network_at(cluster: Cluster, plan: Fit, link: Link, n_tokens: int) -> NetworkTime:
    """The prediction for such a link."""
    network = network_time(
        replace(cluster, network=link),
        plan.model.shape,
        plan.settings,
        plan.placement.layout,
        depth=PROMPT,
        sample=replace(USUAL, n_prompt=PROMPT, n_decoded=n_tokens),
    )
    assert network
    return network


if __name__ == "__main__":
    main()
