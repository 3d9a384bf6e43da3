"""Compute buffers on devices, against llama.cpp's own scheduler: RPC workers on this machine count
as GPUs.
"""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hakaru.engine.capi import LIBRARY
from hakaru.formats.header_file import without_vocabulary, write_header_only
from hakaru.memory.compute import device_compute, is_known
from hakaru.memory.settings import ContextSettings
from hakaru.models.catalogue import KnownModel, known_models

pytestmark = pytest.mark.engine

TOLERANCE = 17 * 2**10
NOT_EQUAL = {"bert", "gemma3n", "gemma4", "kimi-linear", "modern-bert", "nemotron_h"}
"""Architectures whose figures on devices are bounds, or off by a row: docs/memory.md has how far.
"""
SETTINGS = [ContextSettings(n_ctx=4096), ContextSettings(n_ctx=32768, n_ubatch=2048)]
DRY_RUNS = """
import ctypes, json, os, sys
from pathlib import Path
from hakaru.engine import libllama
from hakaru.engine.libllama import c

folder = Path(os.environ["HAKARU_ENGINE_LIBRARY"])
rpc, registry = (ctypes.CDLL(str(folder / name)) for name in ("libggml-rpc.so", "libggml.so"))
rpc.ggml_backend_rpc_add_server.restype = ctypes.c_void_p
rpc.ggml_backend_rpc_add_server.argtypes = [ctypes.c_char_p]
registry.ggml_backend_register.argtypes = [ctypes.c_void_p]
libllama.start()
for worker in sys.argv[1:]:
    registry.ggml_backend_register(rpc.ggml_backend_rpc_add_server(worker.encode()))
devices = [c.ggml_backend_dev_get(i) for i in range(c.ggml_backend_dev_count())]
workers = [d for d in devices if b"RPC" in c.ggml_backend_dev_name(d)]
for line in sys.stdin:
    path, n_devices, wanted = json.loads(line)
    params = c.llama_model_default_params()
    params.no_alloc, params.load_mode, params.n_gpu_layers = True, libllama.LOAD_PLAIN, 999
    chosen = (ctypes.c_void_p * (n_devices + 1))(*workers[:n_devices], None)
    params.devices = ctypes.cast(chosen, ctypes.c_void_p)
    model = c.llama_model_load_from_file(path.encode(), params)
    with libllama.context(model, **wanted) as context:
        print("buffers " + json.dumps(libllama.buffers(context)), flush=True)
    c.llama_model_free(model)
"""


def one_per_architecture() -> list[KnownModel]:
    """The most downloaded model of every architecture whose figures on devices are exact."""
    first: dict[str, KnownModel] = {}
    for known in known_models():
        if is_known(known.shape) and known.architecture not in NOT_EQUAL:
            first.setdefault(known.architecture, known)
    return list(first.values())


@pytest.fixture
def workers(native_engine: Path) -> Iterator[list[str]]:
    """Two workers of the native build on loopback."""
    ports = []
    for _ in range(2):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            ports.append(free.getsockname()[1])
    started = [
        subprocess.Popen(
            [native_engine / "ggml-rpc-server", "-H", "127.0.0.1", "-p", str(port)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for port in ports
    ]
    try:
        for port in ports:
            wait_for(port)
        yield [f"127.0.0.1:{port}" for port in ports]
    finally:
        for process in started:
            process.kill()
            process.wait()


def wait_for(port: int) -> None:
    """Until somebody listens there, at most a minute."""
    for _ in range(300):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.2)
    pytest.fail("the RPC worker did not start")


def test_buffers_on_devices_are_the_engine_s(
    workers: list[str], native_engine: Path, tmp_path: Path
) -> None:
    """Host, first and last device, with one device and with two that keep four copies of their
    inputs: to 17 KiB.
    """
    requests, names, ours = [], [], []
    for known in one_per_architecture():
        metadata = without_vocabulary(known.metadata(), known.n_vocab)
        path = write_header_only(tmp_path / f"{known.id}.gguf", metadata, known.tensors())
        for settings in SETTINGS:
            wanted = {
                "n_ctx": settings.n_ctx,
                "n_ubatch": settings.n_ubatch,
                "n_outputs_max": settings.n_outputs,
            }
            for n in (1, 2):
                found = device_compute(known.shape, settings, n_devices=n)
                assert found
                requests.append(json.dumps([str(path), n, wanted]))
                names.append(f"{known.architecture}, {n} devices, {settings.n_ctx}")
                ours.append([found.host_bytes, *(found.of(i, n) for i in range(n))])
    done = subprocess.run(
        [sys.executable, "-c", DRY_RUNS, *workers],
        input="\n".join(requests),
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {LIBRARY: str(native_engine)},
    )
    told = [
        json.loads(line.removeprefix("buffers "))
        for line in done.stdout.splitlines()
        if line.startswith("buffers ")
    ]
    assert len(told) == len(ours) > 150
    for name, figures, buffers in zip(names, ours, told, strict=True):
        host = sum(b["compute"] for device, b in buffers.items() if "RPC" not in device)
        devices = [b["compute"] for w in workers for device, b in buffers.items() if w in device]
        assert figures == pytest.approx([host, *devices], abs=TOLERANCE), name
