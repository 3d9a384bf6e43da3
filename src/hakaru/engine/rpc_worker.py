"""A worker: llama.cpp's `ggml-rpc-server`, which lends the devices of this machine to a server on
another one. It trusts whoever reaches its port, and encrypts nothing.
"""

import json
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from typing import IO, Final

import psutil
from msgspec import Struct

from hakaru.engine.builds import Build, natives, selection
from hakaru.engine.environment import engine_environment
from hakaru.engine.process import child_command, how_it_ended
from hakaru.errors import EngineDied, EngineMissing, MachineError, system_reason
from hakaru.hardware.threads import n_threads

PROGRAM: Final = "ggml-rpc-server"
PROTOCOL: Final = "8.0.0"
"""That of the pinned build. Source: llama.cpp, ggml/include/ggml-rpc.h."""
UP_WITHIN_S: Final = 60.0
"""The first start of a build for a GPU may compile its kernels."""
POLL_S: Final = 0.02
_HELLO: Final = 14
_CAPS_BYTES: Final = 24
"""Source: llama.cpp, ggml/src/ggml-rpc/ggml-rpc.cpp (rpc_cmd, rpc_msg_hello_req)."""


class WorkerFacts(Struct, frozen=True, kw_only=True):
    """What a worker says when it is up."""

    version: str  # of the engine
    protocol: str
    host: str
    port: int
    pid: int  # of `ggml-rpc-server`


def rpc_build() -> Build:
    """The build that lends: the one that serves, or else the newest native one. Raises
    EngineMissing.
    """
    serves = selection().server
    build = serves if serves.rpc_server else next(iter(natives()), None)
    if build is None:
        raise EngineMissing(
            "no engine here can lend memory to another machine; make one: hakaru engine build"
        )
    return build.usable()


def protocol_of(host: str, port: int, *, within_s: float = 5.0) -> str:
    """The version of the protocol that a worker speaks, such as `8.0.0`. Raises OSError where
    nobody answers so.
    """
    with socket.create_connection((host, port), within_s) as connection:
        connection.sendall(struct.pack("<BQ", _HELLO, _CAPS_BYTES) + bytes(_CAPS_BYTES))
        answer = b""
        while len(answer) < 12:  # a size of 8 bytes, then three numbers and a filler
            if not (part := connection.recv(64)):
                raise ConnectionResetError
            answer += part
    return ".".join(map(str, answer[8:11]))


@contextmanager
def rpc_worker(host: str, port: int) -> Iterator["RpcWorker"]:
    """A worker that listens at `host` and `port` while the block lasts. Raises MachineError where
    the port cannot be had, EngineMissing, and EngineDied.
    """
    build = rpc_build()
    _check_free(host, port)
    program = [str(build.rpc_server), "-H", host, "-p", str(port), "-t", str(n_threads())]
    process = subprocess.Popen(
        child_command("hakaru.engine.server_binary", *program),
        stdin=subprocess.PIPE,
        env=engine_environment(),
        start_new_session=True,
    )
    try:
        protocol = _wait_until_up(process, host, port)
        assert build.version
        facts = WorkerFacts(
            version=build.version, protocol=protocol, host=host, port=port, pid=process.pid
        )
        yield RpcWorker(process, facts)
    finally:
        process.kill()
        process.wait()
        assert process.stdin
        process.stdin.close()


class RpcWorker:
    """A worker that is up."""

    def __init__(self, process: "subprocess.Popen[bytes]", facts: WorkerFacts) -> None:
        self._process, self.facts = process, facts

    def wait(self, until_closed: IO[bytes] | None = None) -> None:
        """Return when `until_closed` ends, if it is given. Raises EngineDied if the worker ends
        before.
        """
        is_over = threading.Event()

        def watch(stream: IO[bytes]) -> None:
            while stream.read(1):
                pass
            is_over.set()
            self._process.kill()

        if until_closed:
            threading.Thread(target=watch, args=(until_closed,), daemon=True).start()
        code = self._process.wait()
        if not is_over.is_set():
            raise _death(code)


def facts_told(text: str) -> WorkerFacts:
    """What a worker said of itself as JSON. Raises ValueError, KeyError or TypeError."""
    told = json.loads(text)
    return WorkerFacts(**{name: told[name] for name in WorkerFacts.__struct_fields__})


def _check_free(host: str, port: int) -> None:
    """Raises MachineError where a worker could not listen."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with closing(socket.socket(family)) as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((host, port))
        except OSError as error:
            if pid := _worker_at(port):
                raise MachineError(
                    "port {port} of {host} has a worker already, process {pid}; if it was left "
                    "behind, end it: {command}",
                    port=port,
                    host=host,
                    pid=pid,
                    command=f"kill {pid}",
                ) from error
            raise MachineError(
                "port {port} of {host} cannot be used by a worker ({reason}); give it another one.",
                port=port,
                host=host,
                reason=system_reason(error),
            ) from error


def _worker_at(port: int) -> int | None:
    """The process of a worker of this user's that listens at `port`; None: there is none."""
    with suppress(psutil.Error):
        for socket_ in psutil.net_connections("tcp"):
            _, at = socket_.laddr or (None, None)
            listens = socket_.status == psutil.CONN_LISTEN and at == port
            if listens and socket_.pid and psutil.Process(socket_.pid).name() == PROGRAM:
                return int(socket_.pid)
    return None


def _wait_until_up(process: "subprocess.Popen[bytes]", host: str, port: int) -> str:
    until = time.monotonic() + UP_WITHIN_S
    while process.poll() is None and time.monotonic() < until:
        try:
            return protocol_of(host, port)
        except OSError:
            time.sleep(POLL_S)
    raise _death(process.poll())


def _death(code: int | None) -> EngineDied:
    return EngineDied("the worker ended ({how}).", log=[], how=how_it_ended(code))
