"""The workers of a cluster, started from the head and ended with it.

Each worker listens on loopback of its own machine. One ssh session starts it there and carries the
tunnel to it: with the session the worker ends, however the session ends. On an interface that a
person trusts there is no tunnel, and a worker on the head's own machine needs none. A worker of
another version is refused before any weights travel.
"""

import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Final

import psutil

from hakaru.clusters.cluster import Cluster, Node
from hakaru.clusters.ssh import failed_there, hakaru_there, host_of, is_here, run_there, ssh_command
from hakaru.engine.builds import selection
from hakaru.engine.rpc_worker import PROTOCOL, WorkerFacts, facts_told, protocol_of
from hakaru.errors import EngineMissing, NodeError, NodeUnready, WorkerLost
from hakaru.language import listed
from hakaru.pool import impatient_pool
from hakaru.servers import HOST
from hakaru.serving.node_session import NodeSession

UP_WITHIN_S: Final = 90.0
GONE_WITHIN_S: Final = 10.0
"""Seconds from the end of a worker's stdin to the end of its session."""


class Worker:
    """One node's worker, and the way to it."""

    def __init__(self, node: Node, *, trust_network: bool) -> None:
        self.node = node
        self._is_here, self._trusts = is_here(node.address), trust_network
        has_tunnel = not (trust_network or self._is_here)
        self._local_port = _free_port() if has_tunnel else node.port
        self.host = node.address if trust_network else HOST
        self.endpoint = f"{self.host}:{self._local_port}"
        self.facts: WorkerFacts | None = None
        self._session: NodeSession | None = None

    def start(self) -> None:
        """Return when the worker answers at `endpoint`. Raises NodeError."""
        if self._session:
            self._end(self._session, 0)
        self._session = NodeSession(self.command)
        self.facts = self._hello(self._session)
        self._check(self.facts)

    @property
    def command(self) -> list[str]:
        """What starts it, and carries the way to it."""
        words = ["cluster", "worker", "--json", "--port", str(self.node.port)]
        if self._trusts:
            words += ["--host", self.node.address, "--trust-network"]
        if self._is_here:
            return [sys.executable, "-P", "-m", "hakaru", *words]
        tunnel = ["-L", f"{self.endpoint}:{HOST}:{self.node.port}"] if not self._trusts else []
        there = hakaru_there(self.node.hakaru, *words)
        return ssh_command(host_of(self.node), there, *tunnel)

    def _hello(self, session: NodeSession) -> WorkerFacts:
        """What the worker says first: one JSON object, behind what a shell may say before."""
        timer = threading.Timer(UP_WITHIN_S, session.kill)
        timer.start()
        try:
            told = ""
            for line in session.lines:
                told = line if line == "{\n" else told + line
                if line == "}\n":
                    return facts_told(told)
        finally:
            timer.cancel()
        raise self._failure(session)

    def _failure(self, session: NodeSession) -> NodeError:
        host = self.node.name if self._is_here else host_of(self.node)
        return failed_there(host, session.wait(), session.said(), self.node.hakaru)

    def _check(self, facts: WorkerFacts) -> None:
        """Raises NodeUnready for another version, NodeError where the way to it leads nowhere."""
        ours = selection().server.version
        if facts.version != ours:
            raise NodeUnready(
                "{host}: its worker is of engine {found}, and the server here of {expected}; "
                "nothing was sent. Install the same version of hakaru, and type there: hakaru "
                "engine build",
                host=self.node.name,
                found=facts.version,
                expected=ours,
            )
        try:
            protocol = protocol_of(self.host, self._local_port)
        except OSError as error:
            raise NodeError(
                "{host}: its worker is up, but the way to it at {address} carries nothing.",
                host=self.node.name,
                address=self.endpoint,
            ) from error
        if protocol != PROTOCOL:
            raise NodeUnready(
                "{host}: its worker speaks RPC {found}, expected {expected}; nothing was sent.",
                host=self.node.name,
                found=protocol,
                expected=PROTOCOL,
            )

    @property
    def is_up(self) -> bool:
        """Whether its session still runs."""
        return self._session is not None and self._session.is_up

    def wait(self) -> None:
        """Return when its session has ended."""
        if self._session:
            self._session.wait()

    def loss(self) -> WorkerLost:
        """Why it is no more."""
        assert self._session
        return WorkerLost(
            "{reason} The model lies on it, too, so nothing answers any more; with `restart` it "
            "begins again.",
            log=[],
            reason=self._failure(self._session),
        )

    def stop(self) -> bool:
        """End it; False if it still runs afterwards, or nobody can tell."""
        if self._session is None:
            return True
        code = self._end(self._session, GONE_WITHIN_S)
        return code == 0 or self.facts is None or not self._still_runs(self.facts.pid)

    def _end(self, session: NodeSession, within_s: float) -> int | None:
        code = session.end(within_s)
        session.lines.close()
        return code

    def _still_runs(self, pid: int) -> bool:
        if self._is_here:
            return psutil.pid_exists(pid)
        try:
            there = run_there(host_of(self.node), f"kill -0 {pid} 2>&1; echo $?", within_s=20)
        except NodeError:
            return True
        return there.strip() == "0"


class Workers:
    """All workers of a cluster."""

    def __init__(self, cluster: Cluster, *, trust_network: bool) -> None:
        self.all = [Worker(node, trust_network=trust_network) for node in cluster.workers]
        self._stops = threading.Event()

    @property
    def endpoints(self) -> tuple[str, ...]:
        """Where llama-server, on the head, reaches each."""
        return tuple(worker.endpoint for worker in self.all)

    def lost(self) -> list[Worker]:
        """Those that have ended."""
        return [worker for worker in self.all if not worker.is_up]

    def start(self, on_lost: Callable[[], None]) -> None:
        """Start those that are not up, all at the same time; `on_lost` is called when one of them
        ends before `stop`. Raises NodeError.
        """
        lost = self.lost()
        with impatient_pool(max(1, len(lost))) as pool:
            list(pool.map(Worker.start, lost))
        for worker in lost:
            threading.Thread(target=self._watch, args=(worker, on_lost), daemon=True).start()

    def _watch(self, worker: Worker, on_lost: Callable[[], None]) -> None:
        worker.wait()
        if not self._stops.is_set():
            on_lost()

    def stop(self) -> None:
        """End all of them. Raises NodeError for those that may still run."""
        self._stops.set()
        with impatient_pool(max(1, len(self.all))) as pool:
            gone = list(pool.map(Worker.stop, self.all))
        if left := [w for w, is_gone in zip(self.all, gone, strict=True) if not is_gone]:
            raise NodeError(
                "a worker may still run on {nodes}; look there, and end it: {command}",
                nodes=listed(worker.node.name for worker in left),
                command=f"kill {left[0].facts.pid if left[0].facts else 'PID'}",
            )


@contextmanager
def workers_of(cluster: Cluster, *, trust_network: bool) -> Iterator[Workers]:
    """The workers of a cluster, not started yet; with the block they end. Raises EngineMissing
    where the build that serves cannot use any.
    """
    if selection().server.rpc_server is None:
        raise EngineMissing(
            "the engine {name} cannot use other machines; type hakaru engine build, or: hakaru "
            "engine use native",
            name=selection().server.name,
        )
    workers = Workers(cluster, trust_network=trust_network)
    try:
        yield workers
    finally:
        workers.stop()


def _free_port() -> int:
    """A port of loopback that nobody listens at now."""
    with closing(socket.socket()) as trial:
        trial.bind((HOST, 0))
        port: int = trial.getsockname()[1]
        return port
