"""llama.cpp's scheduler over its RPC backend: workers on loopback count as GPUs, and a dry run with
them says what each buffer of a computation takes.
"""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hakaru.engine.capi import LIBRARY

DRY_RUNS = """
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
        print("buffers " + json.dumps(libllama.buffers(context)), flush=True)
    c.llama_model_free(model)
"""


@contextmanager
def workers_of(native: Path) -> Iterator[list[str]]:
    """Two workers of the native build in the folder `native`, on loopback."""
    ports = []
    for _ in range(2):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            ports.append(free.getsockname()[1])
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


def compute_on_devices(
    native: Path, workers: Sequence[str], requests: Sequence[tuple[Path, int, dict[str, Any], bool]]
) -> list[list[int]]:
    """Compute buffers in bytes of the host and of each device, by request: a file, the number of
    devices, the settings of the context, and whether all experts stay in RAM.
    """
    done = subprocess.run(
        [sys.executable, "-c", DRY_RUNS, *workers],
        input="\n".join(json.dumps([str(path), *rest]) for path, *rest in requests),
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
            sum(b["compute"] for device, b in buffers.items() if "RPC" not in device),
            *(b["compute"] for w in workers for device, b in buffers.items() if w in device),
        ]
        for buffers in told
    ]


def _wait_for(port: int) -> None:
    """Until somebody listens there, at most a minute."""
    for _ in range(300):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.2)
    raise TimeoutError(f"the RPC worker at port {port} did not start")
