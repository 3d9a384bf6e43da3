"""A probe is what the file with these types would be, and leaves the model as it was, to the
bit.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from copies import quantized_copy
from hakaru.engine.lab import Lab
from hakaru.errors import EngineRefused, ModelDamaged
from hakaru.formats.imatrix import Activations, Imatrix
from hakaru.models.model import read_model
from hakaru.testing import tiny_hyperparameters, tiny_shape, write_tiny, write_tiny_llama

pytestmark = pytest.mark.engine

WINDOWS: list[dict[str, Any]] = [
    {"tokens": list(range(9 * i + 2, 9 * i + 34 + i)), "first": 4} for i in range(6)
]

MODELS: dict[str, tuple[str, dict[str, Any], bool]] = {
    "llama": ("llama", {}, False),
    "llama tied": ("llama", {}, True),
    "llama with experts": ("llama", {"expert_count": 4, "expert_used_count": 2}, False),
    "qwen2 with biases": ("qwen2", {}, False),
    "qwen3": ("qwen3", {}, True),
    "qwen3moe": ("qwen3moe", {}, False),
    "gemma3": ("gemma3", {}, True),
    "phi3 with fused matrices": ("phi3", {}, False),
    "deepseek2 with latent attention": ("deepseek2", {}, False),
    "gpt-oss with sinks": ("gpt-oss", {}, False),
    "lfm2 with short convolutions": ("lfm2", {}, True),
    "qwen35 with delta nets": ("qwen35", {}, False),
    "mamba": ("mamba", {}, True),
    "mamba2": ("mamba2", {}, True),
}


def exchange(path: Path, type_: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("exchange.py")), str(path), type_],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    result: dict[str, Any] = json.loads(done.stdout)
    return result


@pytest.mark.parametrize("case", MODELS.values(), ids=MODELS)
def test_every_matrix_is_found_and_restored_to_the_bit(
    case: tuple[str, dict[str, Any], bool], tmp_path: Path
) -> None:
    """No tensor is missing, each one moves the logits, and after each of them they are
    bit-identical again.
    """
    architecture, changes, tied = case
    path = write_tiny(
        tmp_path / "model.gguf", tiny_hyperparameters(architecture, **changes), tied=tied
    )
    found = exchange(path, "Q4_0")
    assert found["missing"] == []
    assert found["n"] > 2 * 2
    assert found["without_part"] == []
    assert found["moved"]
    assert found["restored"]


def test_a_quantized_source_is_restored_to_the_bit(embedded: Path, tmp_path: Path) -> None:
    """The embedded model is in Q4_1 and Q8_0: its weights are exchanged and restored like any
    other.
    """
    windows = [{"tokens": list(range(100, 140)), "first": 4}]
    names = [f"blk.{i}.{part}.weight" for i in range(30) for part in ("ffn_down", "attn_q")]
    probes = [dict.fromkeys(names, "Q5_0"), {}, {"blk.0.ffn_down.weight": "Q4_1"}, {}]
    found = Lab().probe(embedded, probes, windows)
    assert found.missing == frozenset()
    moved, restored, own_type, again = (w for (w,) in found.probes)
    assert moved["kld"] / moved["n"] > 1e-4
    for untouched in (
        restored,
        own_type,
        again,
    ):  # a tensor in its own type is copied, in a probe as in a file
        assert untouched["kld"] == 0.0
        assert untouched["agreed"] == untouched["n"]
        assert untouched["nll_candidate"] == untouched["nll_reference"]


@pytest.mark.parametrize(("preset", "exact"), [("Q8_0", True), ("Q2_K", False), ("Q4_K_M", False)])
def test_a_probe_is_what_the_built_file_is(
    tiny: Path, tmp_path: Path, preset: str, exact: bool
) -> None:
    """The file that the writer makes is the oracle: the same sums on the same windows, in one child
    without a file.

    Types that the comparison packs for faster kernels round otherwise, in the third digit. Which
    ones depends on the processor; Q8_0 is none of them on any that has AVX2.
    """
    built = tmp_path / "built.gguf"
    quantized_copy(tiny, built, preset)
    before = {t.name: t.type.name for t in read_model(tiny).tensors}
    types = {
        t.name: t.type.name for t in read_model(built).tensors if t.type.name != before[t.name]
    }
    windows = [{"tokens": w["tokens"][:34], "first": 4} for w in WINDOWS[2:]]
    (probed,) = Lab().probe(tiny, [types], windows).probes
    (compared,) = Lab().compare(tiny, [built], windows)
    assert [w["n"] for w in probed] == [w["n"] for w in compared] == [29] * 4
    for ours, theirs in zip(probed, compared, strict=True):
        assert ours["kld"] == pytest.approx(theirs["kld"], rel=1e-9 if exact else 0.05)
        assert ours["nll_reference"] == pytest.approx(theirs["nll_reference"], rel=1e-9)


def test_windows_side_by_side_are_the_same_windows(tiny: Path) -> None:
    """Of any lengths and in any company: the sums belong to their window, to what rounding
    changes.
    """
    probes = [{"blk.0.ffn_down.weight": "Q2_K"}]
    (together,) = Lab().probe(tiny, probes, WINDOWS).probes
    (backwards,) = Lab().probe(tiny, probes, WINDOWS[::-1]).probes
    for one, other, n in zip(together, backwards[::-1], range(27, 33), strict=True):
        assert one["n"] == other["n"] == n
        assert one["kld"] == pytest.approx(other["kld"], rel=1e-2)
        assert one["nll_reference"] == pytest.approx(other["nll_reference"], rel=1e-4)


def test_reference_logits_may_not_fit_at_once(tiny: Path) -> None:
    """With little room the probes go round several times; the sums per window are the same."""
    probes = [{"blk.0.ffn_down.weight": "Q4_0"}, {"output.weight": "Q3_K"}]
    whole = Lab().probe(tiny, probes, WINDOWS)
    seen: list[tuple[int, int]] = []
    small = Lab().probe(
        tiny,
        probes,
        WINDOWS,
        reference_bytes=1,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert small == whole
    assert seen[-1] == (12, 12)
    assert seen == sorted(seen)


def test_importance_changes_what_a_probe_quantizes(tiny: Path) -> None:
    """With the importance of the model's own inputs the damage is smaller; types that need it are
    refused without.
    """
    types = [dict.fromkeys(("blk.0.ffn_down.weight", "blk.1.ffn_down.weight"), "Q2_K")]
    imatrix = Lab().importance(tiny, WINDOWS)
    without, with_it = (
        sum(w["kld"] for w in Lab().probe(tiny, types, WINDOWS, imatrix=i).probes[0])
        for i in (None, imatrix)
    )
    assert with_it < without
    needy = [{"blk.0.ffn_down.weight": "IQ2_XXS"}]
    with pytest.raises(
        EngineRefused, match=r"quantize blk\.0\.ffn_down\.weight to IQ2_XXS without importance data"
    ):
        Lab().probe(tiny, needy, WINDOWS[:1])


def test_tensors_that_play_no_part_are_named(tmp_path: Path) -> None:
    """A block for multi-token prediction stays on disk; exchanging it changes nothing."""
    metadata = tiny_hyperparameters("glm4moe", block_count=3, nextn_predict_layers=1)
    path = write_tiny(tmp_path / "mtp.gguf", metadata)
    found = Lab().probe(path, [{"blk.2.nextn.eh_proj.weight": "Q4_0"}], WINDOWS[:2])
    assert "blk.2.nextn.eh_proj.weight" in found.missing
    assert all(name.startswith("blk.2.") for name in found.missing)
    assert [w["kld"] for w in found.probes[0]] == [0.0, 0.0]


def test_a_damaged_model_is_no_measurement(tiny: Path, tmp_path: Path) -> None:
    """Weights that are not numbers: the file is named."""
    damaged = tmp_path / "nan.gguf"
    damaged.write_bytes(tiny.read_bytes()[:-2] + b"\xff\x7f")
    with pytest.raises(ModelDamaged, match=f"{damaged}: gives logits that are not numbers"):
        Lab().probe(damaged, [{}], WINDOWS[:1])


def test_an_interruption_leaves_no_child(tmp_path: Path) -> None:
    """Ctrl-C while probes run: it arrives, and nothing of the call is left."""
    path = write_tiny_llama(tmp_path / "model.gguf", tiny_shape(n_layer=2))

    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    imatrix = Imatrix(
        entries={
            "output.weight": Activations(
                sums=np.ones(256, np.float32), counts=np.ones(1, np.float32)
            )
        }
    )
    with pytest.raises(KeyboardInterrupt):
        Lab().probe(
            path, [{"output.weight": "Q4_0"}] * 100, WINDOWS, imatrix=imatrix, progress=interrupt
        )
    children = [
        c for c in psutil.Process().children(recursive=True) if c.status() != psutil.STATUS_ZOMBIE
    ]
    assert not [c for c in children if "hakaru.engine.child" in " ".join(c.cmdline())]
    assert [p.name for p in tmp_path.iterdir()] == ["model.gguf"]


def test_copies_are_kept_as_files_and_used_again(tmp_path: Path) -> None:
    """The second call reads them: a copy that is exchanged for another one's bytes moves the model;
    one that was cut is made anew.
    """
    path = write_tiny_llama(tmp_path / "model.gguf", tiny_shape())
    down, up = "blk.0.ffn_down.weight", "blk.0.ffn_up.weight"
    probes, kept = (
        [{down: "Q4_0"}, {up: "Q4_0"}],
        (tmp_path, {down: {"Q4_0": "down"}, up: {"Q4_0": "up"}}),
    )
    first = Lab().probe(path, probes, WINDOWS, kept=kept).probes
    made = {name: (tmp_path / name).read_bytes() for name in ("down", "up")}
    assert (
        first
        == Lab().probe(path, probes, WINDOWS).probes
        == Lab().probe(path, probes, WINDOWS, kept=kept).probes
    )
    (tmp_path / "down").write_bytes(bytes(len(made["down"])))
    (tmp_path / "up").write_bytes(made["up"][:-1])
    zeroed, mended = Lab().probe(path, probes, WINDOWS, kept=kept).probes
    assert sum(w["kld"] for w in zeroed) != sum(w["kld"] for w in first[0])
    assert mended == first[1]
    assert (tmp_path / "up").read_bytes() == made["up"]
    assert not list(tmp_path.glob(".up*"))
