"""Compute buffers on devices, against llama.cpp's own scheduler: RPC workers on this machine count
as GPUs.
"""

from pathlib import Path

import pytest

from hakaru.formats.header_file import without_vocabulary, write_header_only
from hakaru.memory.compute import device_compute, is_known
from hakaru.memory.settings import ContextSettings
from hakaru.models.catalogue import KnownModel, known_models
from over_rpc import compute_on_devices, workers_of

pytestmark = pytest.mark.engine

TOLERANCE = 17 * 2**10
NOT_EQUAL = {"bert", "gemma3n", "gemma4", "kimi-linear", "modern-bert", "nemotron_h"}
"""Architectures whose figures on devices are bounds, or off by a row: docs/memory.md has how far.
"""
SETTINGS = [ContextSettings(n_ctx=4096), ContextSettings(n_ctx=32768, n_ubatch=2048)]


def one_per_architecture() -> list[KnownModel]:
    """The most downloaded model of every architecture whose figures on devices are exact."""
    first: dict[str, KnownModel] = {}
    for known in known_models():
        if is_known(known.shape) and known.architecture not in NOT_EQUAL:
            first.setdefault(known.architecture, known)
    return list(first.values())


def test_buffers_on_devices_are_the_engine_s(native_engine: Path, tmp_path: Path) -> None:
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
                computed = device_compute(known.shape, settings, n_devices=n)
                assert computed
                requests.append((path, n, wanted, False))
                names.append(f"{known.architecture}, {n} devices, {settings.n_ctx}")
                ours.append([computed.host_bytes, *(computed.of(i, n) for i in range(n))])
    assert len(requests) > 150
    with workers_of(native_engine) as workers:
        theirs = compute_on_devices(native_engine, workers, requests)
    for name, figures, buffers in zip(names, ours, theirs, strict=True):
        assert figures == pytest.approx(buffers, abs=TOLERANCE), name
