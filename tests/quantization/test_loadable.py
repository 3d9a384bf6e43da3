"""What llama.cpp cannot load is not quantized, and what was written is not called verified before
llama.cpp has laid it out.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hakaru.cli import run
from hakaru.engine.lab import Lab
from hakaru.errors import EngineDied, EngineRefused, ModelDamaged
from hakaru.formats.header_file import write_header_only
from hakaru.memory.footprint import Footprint
from hakaru.memory.settings import ContextSettings
from hakaru.models.model import read_model
from hakaru.quantization.loadable import check_result, check_source
from hakaru.quantization.writer import write_recipe
from hakaru.testing import llama_tensors, tiny_hyperparameters, tiny_shape, write_tiny_llama

pytestmark = pytest.mark.engine
Rows = list[tuple[str, tuple[int, ...]]]


def without(part: str) -> Callable[[Rows], Rows]:
    return lambda rows: [row for row in rows if part not in row[0]]


def renamed(old: str, new: str) -> Callable[[Rows], Rows]:
    return lambda rows: [(name.replace(old, new), shape) for name, shape in rows]


def shaped(name: str, *shape: int) -> Callable[[Rows], Rows]:
    return lambda rows: [(n, shape if n == name else s) for n, s in rows]


def more(*extra: tuple[str, tuple[int, ...]]) -> Callable[[Rows], Rows]:
    return lambda rows: [*rows, *extra]


def header(path: Path, change: Callable[[Rows], Rows] = lambda rows: rows, **keys: Any) -> Path:
    """A header of a tiny llama, its tensor table changed."""
    rows = [(name, dims[::-1]) for name, dims in llama_tensors(tiny_shape())]
    metadata = {
        **tiny_hyperparameters("llama"),
        "llama.vocab_size": 512,
        "tokenizer.ggml.model": "no_vocab",
        **keys,
    }
    write_header_only(path, metadata, change(rows))
    return path


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (shaped("token_embd.weight", 256, 520), "token_embd.weight' has wrong shape"),
        (shaped("output.weight", 256, 520), "output.weight' has wrong shape"),
        (without("output_norm"), "output_norm.weight' not found"),
        (without("blk.1."), "blk.1.attn_norm.weight' not found"),
        (renamed("attn_q", "self_attn_q"), "blk.0.attn_q.weight' not found"),
        (renamed("blk.", "model.layers."), "blk.0.attn_norm.weight' not found"),
        (shaped("blk.0.attn_q.weight", 128, 256), "blk.0.attn_q.weight' has wrong shape"),
        (shaped("blk.1.ffn_norm.weight", 128), "blk.1.ffn_norm.weight' has wrong shape"),
        (more(("v.blk.0.attn_q.weight", (256, 256)), ("mm.0.weight", (256, 256))),
            "wrong number of tensors; expected 23, got 21"),
        (more(("blk.0.ffn_strange.bias", (256,))), "wrong number of tensors"),
        (more(("rope_freqs.weight", (7,))), "rope_freqs.weight' has wrong shape"),
    ],
)  # fmt: skip
def test_a_source_that_does_not_load_is_told_in_the_engine_s_words(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], change: Callable[[Rows], Rows], reason: str
) -> None:
    """Exit code 4, the reason, a next step, and nothing written; for a dry run as well."""
    source, out = header(tmp_path / "odd.gguf", change), tmp_path / "out.gguf"
    with pytest.raises(ModelDamaged, match="cannot load it"):
        check_source(Lab(), read_model(source))
    assert run(["quantize", str(source), "--type", "Q4_K_M", "--dry-run", "-o", str(out)]) == 4
    said = capsys.readouterr()
    assert reason in said.err and "fetch the file again" in said.err
    assert (said.out, out.exists()) == ("", False)


@pytest.mark.parametrize(
    "arguments",
    [["--type", "Q8_0"], ["--bpw", "5"], ["--size", "0.5MB"], ["--fit"], ["--quality", "compact"]],
)
@pytest.mark.parametrize("dry_run", [[], ["--dry-run"]], ids=["", "dry-run"])
def test_no_target_writes_what_does_not_load(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    dry_run: list[str],
) -> None:
    """A whole file whose vocabulary is larger than its embedding; nothing is measured of it."""
    source = write_tiny_llama(tmp_path / "merged.gguf", tiny_shape(n_vocab=300))
    raw = source.read_bytes()
    source.write_bytes(raw.replace(b"blk.1.ffn_norm.weight", b"blk.1.ffn_mron.weight"))
    monkeypatch.setattr("hakaru.quantization.study.type_errors.sampled_errors", None)
    monkeypatch.setattr(Lab, "write_tensors", None)
    assert (
        run(["quantize", str(source), *arguments, *dry_run, "-o", str(tmp_path / "out.gguf")]) == 4
    )
    assert "blk.1.ffn_norm.weight' not found" in capsys.readouterr().err
    assert [path.name for path in tmp_path.glob("*out*")] == []


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"general.type": "adapter", "adapter.type": "lora"}, "is a LoRA adapter"),
        ({"general.type": "mmproj"}, "is a projector"),
        (
            {
                "general.architecture": "eagle3",
                "eagle3.block_count": 1,
                "eagle3.embedding_length": 256,
                "eagle3.attention.head_count": 4,
                "eagle3.feed_forward_length": 512,
                "eagle3.context_length": 512,
            },
            "is a draft head",
        ),
    ],
)
def test_what_is_only_a_part_of_a_model_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], keys: dict[str, Any], words: str
) -> None:
    """It has a language model's keys, and is none."""
    assert (
        run(
            ["quantize", str(header(tmp_path / "part.gguf", **keys)), "--type", "Q8_0", "--dry-run"]
        )
        == 4
    )
    assert words in capsys.readouterr().err


class Blind(Lab):
    """An engine that loads nothing."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error, self.asked = error, list[Path]()

    def dry_run(self, path: Path, settings: ContextSettings) -> Footprint:
        self.asked.append(path)
        raise self.error


def test_a_result_that_does_not_load_is_not_kept(tiny: Path, tmp_path: Path) -> None:
    """Nothing is left under its name or hidden, and the sentence has the engine's reason."""
    blind = Blind(
        ModelDamaged(
            "{path}: llama.cpp cannot load it ({reason}).",
            path="x",
            reason="tensor 'odd' not found",
        )
    )
    with pytest.raises(
        EngineRefused, match=r"cannot load the quantized file.*tensor 'odd' not found"
    ):
        write_recipe(
            blind, read_model(tiny), {"blk.0.ffn_up.weight": "Q8_0"}, tmp_path / "out.gguf"
        )
    assert len(blind.asked) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_crash_of_the_engine_on_a_file_is_the_file_s_matter(tiny: Path) -> None:
    """An assertion of llama.cpp names the file; a process that was killed from outside does not."""
    crash = EngineDied(
        "{how}", log=[], how="signal 6", last="GGML_ASSERT(n_embd_head_k > 0) failed"
    )
    with pytest.raises(ModelDamaged, match="GGML_ASSERT"):
        check_source(Blind(crash), read_model(tiny))
    with pytest.raises(EngineDied):
        check_source(Blind(EngineDied("{how}", log=[], how="signal 9", last="-")), read_model(tiny))


def test_parts_are_laid_out_together_under_their_names_to_be(tmp_path: Path) -> None:
    """llama.cpp finds the other parts by the first one's name, which they do not have yet."""
    first = write_tiny_llama(tmp_path / "split.gguf", part_tensors=8)
    names = sorted(path.name for path in tmp_path.glob("split-*.gguf"))
    hidden = [
        path.rename(tmp_path / f".{path.name}.part")
        for path in (first.with_name(name) for name in names)
    ]
    assert len(hidden) > 1
    check_result(Lab(), hidden, names)
    with pytest.raises(EngineRefused, match="cannot load the quantized file"):
        check_result(Lab(), hidden[:-1], names[:-1])
