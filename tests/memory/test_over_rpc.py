"""Compute buffers on devices, against llama.cpp's own scheduler: RPC workers on this machine count
as GPUs.
"""

from pathlib import Path

import pytest

from over_rpc import TOLERANCE, cases, compute_on_devices, workers_of

pytestmark = pytest.mark.engine

NOT_EQUAL = {
    "bert", "deepseek32", "gemma3n", "gemma4", "glm-dsa", "kimi-linear", "modern-bert",
    "nemotron_h",
}  # fmt: skip
"""Architectures whose figures on devices are bounds, or off by a row: docs/memory.md has how far.
"""


def test_buffers_on_devices_are_the_engine_s(native_engine: Path, tmp_path: Path) -> None:
    """Host, first and last device, with one device and with two that keep four copies of their
    inputs: to 17 KiB.
    """
    compared = list(cases(lambda known: known.architecture not in NOT_EQUAL))
    assert len(compared) > 150
    with workers_of(native_engine) as workers:
        theirs = compute_on_devices(native_engine, workers, compared, tmp_path)
    for case, buffers in zip(compared, theirs, strict=True):
        name = f"{case.known.architecture}, {case.n_devices} devices, {case.settings.n_ctx}"
        assert case.computed() == pytest.approx(buffers, abs=TOLERANCE), name
