"""What projectors compute with: figures of real loads, the engine's own dry run, and the estimate
beside it.
"""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from hakaru.engine.projector import projector_dry_run
from hakaru.errors import ModelDamaged
from hakaru.formats.gguf import read_header
from hakaru.memory.projector import projector_compute
from hakaru.models.architectures import buffer_bytes
from hakaru.testing import TINY_TOWER, write_tiny_projector
from projectors import MIB, gemma3, qwen3vl, vision, whisper

QWEN36: dict[str, object] = {"width": 5120}
QWEN3VL_8B: dict[str, object] = {"width": 4096, "deepstack": (8, 16, 24)}
REAL: list[tuple[Callable[..., Path], dict[str, object], float]] = [
    (qwen3vl, QWEN36, 248.10),  # the log of a load of Qwen3.6-27B on a card
    (
        qwen3vl,
        QWEN3VL_8B,
        372.08,
    ),  # Qwen3-VL-8B: 1,502 MiB in all, of which the weights are 1,105 and the picture 25
    (gemma3, {}, 121.25),
    (whisper, {}, 51.27),
]


@pytest.mark.parametrize(("make", "options", "mebibytes"), REAL)
def test_the_estimate_lies_a_little_above_the_engine_s_figure(
    make: Callable[..., Path], options: dict[str, object], mebibytes: float, tmp_path: Path
) -> None:
    """By the patches at start, the width and the feed-forward layer; what is promised is 0 to 15%
    above.
    """
    path = make(tmp_path / "mmproj.gguf", **options)
    found = projector_compute(str(path), read_header(path))
    assert mebibytes * 0.999 <= found.start_bytes / MIB <= 1.15 * mebibytes


@pytest.mark.engine
@pytest.mark.parametrize(("make", "options", "mebibytes"), REAL)
def test_the_engine_tells_what_it_would_take(
    make: Callable[..., Path], options: dict[str, object], mebibytes: float, tmp_path: Path
) -> None:
    """From the header alone, in a child process."""
    path = make(tmp_path / "mmproj.gguf", **options)
    told = projector_dry_run(path)
    assert told
    assert (told.total_bytes - buffer_bytes(read_header(path).tensors)) / MIB == pytest.approx(
        mebibytes, abs=0.02
    )


@pytest.mark.engine
def test_the_engine_is_not_believed_about_what_it_refuses(tmp_path: Path, tiny: Path) -> None:
    """No projector, a damaged one, a kind that nobody knows: no figure, and the parent lives."""
    (tmp_path / "junk.gguf").write_bytes(b"GGUF" + bytes(64))
    unknown = vision(
        tmp_path / "x.gguf", "martian", n_layer=2, n_embd=64, n_ff=128, n_head=2, image=64, patch=16
    )
    assert [projector_dry_run(p) for p in (tiny, tmp_path / "junk.gguf", unknown)] == [
        None,
        None,
        None,
    ]


SERVER_WITH_EYES = """
import os, sys, xllamacpp
p = xllamacpp.CommonParams()
p.model.path, p.mmproj.path, p.hostnames = sys.argv[1], sys.argv[2], [sys.argv[3]]
p.n_ctx, p.fit_params, p.cache_ram_mib, p.ui, p.verbosity = 512, False, 0, False, 4
p.cpuparams.n_threads = p.cpuparams_batch.n_threads = 1
server = xllamacpp.Server(p)
print("ready", flush=True)
os._exit(0)
"""


@pytest.mark.engine
def test_a_real_load_takes_what_was_counted(tiny: Path, tmp_path: Path) -> None:
    """The server's own log of a projector with random weights: its weights, and what it computes
    with, as far as the log's two decimals of a MiB tell.
    """
    tower = replace(TINY_TOWER, n_embd=256, n_ff=1024, image=512, n_positions=1024)
    eyes = write_tiny_projector(tmp_path / "eyes.gguf", tower=tower)
    done = subprocess.run(
        [sys.executable, "-c", SERVER_WITH_EYES, tiny, eyes, tmp_path / "s.sock"],
        capture_output=True,
        text=True,
        errors="replace",
        timeout=60,
        check=True,
    )
    log = done.stdout + done.stderr
    weights = re.search(r"load_hparams: model size: +([\d.]+) MiB", log)
    compute = re.search(r"reserve_compute_meta: +CPU compute buffer size = +([\d.]+) MiB", log)
    assert weights and compute, log[-3000:]
    header = read_header(eyes)
    assert float(weights[1]) == pytest.approx(eyes.stat().st_size / MIB, abs=0.01)
    counted = buffer_bytes(header.tensors)
    assert 0 <= eyes.stat().st_size - counted < 2**14  # the header
    told = projector_dry_run(eyes)
    assert told
    assert float(compute[1]) == pytest.approx((told.total_bytes - counted) / MIB, abs=0.01)
    assert float(compute[1]) <= projector_compute(str(eyes), header).start_bytes / MIB


def test_a_larger_picture_takes_more(tmp_path: Path) -> None:
    """Qwen's starts with 46 x 46 tokens and takes 4,096: its buffer grows with the patches by 4,096
    / 2,116 - 1. Gemma's never does.
    """
    qwen, gemma = qwen3vl(tmp_path / "q.gguf", width=5120), gemma3(tmp_path / "g.gguf")
    found = projector_compute(str(qwen), read_header(qwen))
    assert found.growth_bytes / found.start_bytes == pytest.approx(4096 / 2116 - 1, rel=1e-3)
    assert projector_compute(str(gemma), read_header(gemma)).growth_bytes == 0


def test_pictures_of_sixty_million_pixels_are_not_planned_for(tmp_path: Path) -> None:
    """A kind that takes 62,500 tokens: planned up to 4.2 million pixels, which a header may also
    lower.
    """
    shape: dict[str, Any] = {
        "n_layer": 2,
        "n_embd": 64,
        "n_ff": 128,
        "n_head": 2,
        "image": 224,
        "patch": 16,
    }
    endless = vision(tmp_path / "e.gguf", "youtuvl", **shape)
    found = projector_compute(str(endless), read_header(endless))
    assert found.growth_bytes / found.start_bytes == pytest.approx(
        2**22 / 16**2 / 1024 - 1, rel=1e-3
    )
    small = vision(tmp_path / "s.gguf", "youtuvl", **shape, image_max_pixels=2 * 1024 * 16**2)
    assert projector_compute(str(small), read_header(small)).growth_bytes == pytest.approx(
        found.start_bytes, rel=1e-3
    )


def test_the_engine_s_own_start_takes_the_estimate_s_place(tmp_path: Path) -> None:
    """The growth stays an estimate, never below what the patches say."""
    path = qwen3vl(tmp_path / "q.gguf", width=5120)
    ours = projector_compute(str(path), read_header(path))
    told = projector_compute(str(path), read_header(path), start_bytes=2 * ours.start_bytes)
    assert (told.start_bytes, told.growth_bytes) == (2 * ours.start_bytes, 2 * ours.growth_bytes)


def test_a_gate_and_an_activation_that_takes_no_place_need_more(tmp_path: Path) -> None:
    """Pixtral: three rows of the feed-forward layer instead of one."""
    shape: dict[str, Any] = {
        "n_layer": 2,
        "n_embd": 1024,
        "n_ff": 4096,
        "n_head": 16,
        "image": 1540,
        "patch": 14,
    }
    plain = vision(tmp_path / "p.gguf", "pixtral", **shape)
    gated = vision(tmp_path / "g.gguf", "pixtral", gate=True, **shape)
    a, b = (projector_compute(str(p), read_header(p)).start_bytes for p in (plain, gated))
    assert b - a == 4 * 256 * (2 * 4096 + 1024 + 3 * 14**2)


def test_a_header_without_sense_is_damage(tmp_path: Path) -> None:
    """Patches of no size."""
    path = vision(
        tmp_path / "d.gguf",
        "mlp",
        n_layer=2,
        n_embd=64,
        n_ff=128,
        n_head=2,
        image=224,
        patch=16,
        embedding_length=0,
    )
    with pytest.raises(ModelDamaged, match="embedding_length"):
        projector_compute(str(path), read_header(path))
