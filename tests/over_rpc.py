"""llama.cpp's scheduler over its RPC backend: workers on loopback count as GPUs, and a graph that
is reserved on them, as a load reserves it, says what each buffer of a computation takes.

A dry run's own breakdown is not asked: it is taken before the first operation of each layer is tied
to its device, and so counts rows that no real load copies (docs/memory.md).
"""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from hakaru.engine.capi import LIBRARY
from hakaru.formats.header_file import without_vocabulary, write_header_only
from hakaru.memory.compute import device_compute, is_known
from hakaru.memory.settings import ContextSettings
from hakaru.models.catalogue import KnownModel, known_models
from ports import free_ports

TOLERANCE = 17 * 2**10
"""Bytes by which a figure may differ from the engine's and still count as equal."""
SETTINGS = [ContextSettings(n_ctx=4096), ContextSettings(n_ctx=32768, n_ubatch=2048)]
RESERVATIONS = """
import ctypes, json, os, sys
from pathlib import Path
from hakaru.engine import libllama
from hakaru.engine.libllama import c

class Override(ctypes.Structure):
    _fields_ = [("pattern", ctypes.c_char_p), ("buffer_type", ctypes.c_void_p)]

folder = Path(os.environ["HAKARU_ENGINE_LIBRARY"])
rpc, registry, base = (
    ctypes.CDLL(str(folder / name)) for name in ("libggml-rpc.so", "libggml.so", "libggml-base.so")
)
rpc.ggml_backend_rpc_add_server.restype = ctypes.c_void_p
rpc.ggml_backend_rpc_add_server.argtypes = [ctypes.c_char_p]
registry.ggml_backend_register.argtypes = [ctypes.c_void_p]
base.ggml_backend_cpu_buffer_type.restype = ctypes.c_void_p
whole = ctypes.CDLL(str(folder / "libllama.so"))
reserve, scheduler = (
    getattr(whole, name)
    for name in ("_Z19llama_graph_reserveP13llama_contextjjj", "_ZNK13llama_context9get_schedEv")
)
reserve.argtypes = [ctypes.c_void_p] + 3 * [ctypes.c_uint32]
scheduler.argtypes, scheduler.restype = [ctypes.c_void_p], ctypes.c_void_p
for name, kinds in (
    ("sched_get_n_backends", [ctypes.c_void_p]),
    ("sched_get_backend", [ctypes.c_void_p, ctypes.c_int]),
    ("sched_get_buffer_size", 2 * [ctypes.c_void_p]),
    ("get_device", [ctypes.c_void_p]),
    ("dev_description", [ctypes.c_void_p]),
):
    getattr(base, "ggml_backend_" + name).argtypes = kinds
for name in ("sched_get_backend", "get_device"):
    getattr(base, "ggml_backend_" + name).restype = ctypes.c_void_p
base.ggml_backend_sched_get_buffer_size.restype = ctypes.c_size_t
base.ggml_backend_dev_description.restype = ctypes.c_char_p

def reserved(context, n_tokens, n_outputs):
    reserve(context, n_tokens, 1, min(n_tokens, n_outputs))
    s = scheduler(context)
    for i in range(base.ggml_backend_sched_get_n_backends(s)):
        backend = base.ggml_backend_sched_get_backend(s, i)
        device = base.ggml_backend_get_device(backend)
        n_bytes = base.ggml_backend_sched_get_buffer_size(s, backend)
        yield base.ggml_backend_dev_description(device).decode(), n_bytes

libllama.start()
for worker in sys.argv[1:]:
    registry.ggml_backend_register(rpc.ggml_backend_rpc_add_server(worker.encode()))
devices = [c.ggml_backend_dev_get(i) for i in range(c.ggml_backend_dev_count())]
workers = [d for d in devices if b"RPC" in c.ggml_backend_dev_name(d)]
experts = b"[.]ffn_(up|down|gate|gate_up)_(ch|)exps"
in_ram = (Override * 2)(Override(experts, base.ggml_backend_cpu_buffer_type()), Override())
for line in sys.stdin:
    path, n_devices, wanted, experts_on_host = json.loads(line)
    params = c.llama_model_default_params()
    params.no_alloc, params.load_mode, params.n_gpu_layers = True, libllama.LOAD_PLAIN, 999
    chosen = (ctypes.c_void_p * (n_devices + 1))(*workers[:n_devices], None)
    params.devices = ctypes.cast(chosen, ctypes.c_void_p)
    if experts_on_host:
        params.tensor_buft_overrides = ctypes.cast(in_ram, ctypes.c_void_p)
    model = c.llama_model_load_from_file(path.encode(), params)
    with libllama.context(model, **wanted) as context:
        buffers = list(reserved(context, wanted["n_ubatch"], wanted["n_outputs_max"]))
        print("buffers " + json.dumps(buffers), flush=True)
    c.llama_model_free(model)
"""


@contextmanager
def workers_of(native: Path) -> Iterator[list[str]]:
    """Two workers of the native build in the folder `native`, on loopback."""
    ports = free_ports(2)
    started = [
        subprocess.Popen(
            [native / "ggml-rpc-server", "-H", "127.0.0.1", "-p", str(port)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for port in ports
    ]
    try:
        for port in ports:
            _wait_for(port)
        yield [f"127.0.0.1:{port}" for port in ports]
    finally:
        for process in started:
            process.kill()
            process.wait()


class Case(NamedTuple):
    """A model at its settings, on so many devices."""

    known: KnownModel
    settings: ContextSettings
    n_devices: int
    experts_on_host: bool = False  # the experts of all layers stay in RAM

    def computed(self) -> list[int]:
        """Our compute buffers in bytes: of the host, and of each device."""
        figures = device_compute(
            self.known.shape,
            self.settings,
            n_devices=self.n_devices,
            experts_on_host=self.experts_on_host,
        )
        assert figures
        return [figures.host_bytes, *(figures.of(i, self.n_devices) for i in range(self.n_devices))]


def cases(wanted: Callable[[KnownModel], bool], *, experts_on_host: bool = False) -> Iterator[Case]:
    """The most downloaded model of every architecture with a known graph that is `wanted`, at both
    settings, on one device and on two.
    """
    first: dict[str, KnownModel] = {}
    for known in known_models():
        if is_known(known.shape) and wanted(known):
            first.setdefault(known.architecture, known)
    for known in first.values():
        for settings in SETTINGS:
            for n in (1, 2):
                yield Case(known, settings, n, experts_on_host)


def compute_on_devices(
    native: Path, workers: Sequence[str], cases: Sequence[Case], folder: Path
) -> list[list[int]]:
    """The engine's compute buffers in bytes of the host and of each device, by case. Headers are
    written into `folder`.
    """
    requests = [_request(case, folder) for case in cases]
    done = subprocess.run(
        [sys.executable, "-c", RESERVATIONS, *workers],
        input="\n".join(requests),
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {LIBRARY: str(native)},
    )
    told = [
        json.loads(line.removeprefix("buffers "))
        for line in done.stdout.splitlines()
        if line.startswith("buffers ")
    ]
    assert len(told) == len(requests)
    return [
        [
            sum(n_bytes for device, n_bytes in buffers if device not in workers),
            *(n_bytes for w in workers for device, n_bytes in buffers if device == w),
        ]
        for buffers in told
    ]


def _request(case: Case, folder: Path) -> str:
    """A line of the input of DRY_RUNS."""
    known, settings, n_devices, experts_on_host = case
    metadata = without_vocabulary(known.metadata(), known.n_vocab)
    path = write_header_only(folder / f"{known.id}.gguf", metadata, known.tensors())
    context = {
        "n_ctx": settings.n_ctx,
        "n_ubatch": settings.n_ubatch,
        "n_outputs_max": settings.n_outputs,
    }
    return json.dumps([str(path), n_devices, context, experts_on_host])


def _wait_for(port: int) -> None:
    """Until somebody listens there, at most a minute."""
    for _ in range(300):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.2)
    raise TimeoutError(f"the RPC worker at port {port} did not start")
