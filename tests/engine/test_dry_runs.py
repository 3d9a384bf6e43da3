"""How often the engine is asked to lay a file out."""

import os
from pathlib import Path
from typing import Any

import pytest

from hakaru.engine.lab import Lab
from hakaru.memory.settings import ContextSettings

SETTINGS = ContextSettings(n_ctx=512)
FIGURES = {"weights_bytes": 1, "kv_cache_bytes": 2, "compute_bytes": 3, "output_bytes": 4}
PARTS = {"model": 1, "context": 2, "compute": 3}


class Calls:
    """Stands in for the child: it answers with the buffers of `device`, and counts."""

    def __init__(self, device: str) -> None:
        self.device, self.n = device, 0

    def __call__(self, operation: str, request: dict[str, Any]) -> dict[str, Any]:
        self.n += 1
        return {**FIGURES, "devices": {self.device: PARTS}}


def calls_of(device: str, patch: pytest.MonkeyPatch) -> Calls:
    calls = Calls(device)
    patch.setattr("hakaru.engine.lab.call", calls)
    return calls


def test_an_unchanged_file_is_laid_out_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other settings, another lab and a file that was written anew are asked for again."""
    calls, lab, path = calls_of("CPU", monkeypatch), Lab(), tmp_path / "model.gguf"
    path.touch()
    assert lab.dry_run(path, SETTINGS) == lab.dry_run(path, SETTINGS)
    assert calls.n == 1
    lab.dry_run(path, ContextSettings(n_ctx=1024))
    assert calls.n == 2
    os.utime(path, ns=(0, 0))
    lab.dry_run(path, SETTINGS)
    assert calls.n == 3
    Lab().dry_run(path, SETTINGS)
    assert calls.n == 4


def test_a_layout_over_accelerators_is_asked_for_every_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """llama.cpp splits the layers by the memory that is free on each card."""
    calls, lab, path = calls_of("CUDA0", monkeypatch), Lab(), tmp_path / "model.gguf"
    path.touch()
    lab.dry_run(path, SETTINGS)
    lab.dry_run(path, SETTINGS)
    assert calls.n == 2
