"""Files by people who mean harm, or were careless: one sentence, soon, and nothing that a terminal
would obey.
"""

import json
import os
import time
from pathlib import Path

import gguf
import numpy as np
import pytest

from hakaru.cli import run
from hakaru.cli.output import print_text, show_table
from hakaru.cli.table import Column, Table
from hakaru.errors import HakaruError, ModelDamaged, ModelError, ModelNotFound
from hakaru.formats.gguf import read_header
from hakaru.formats.imatrix import read_imatrix
from hakaru.formats.safetensors import read_stored
from hakaru.models.model import read_model
from hakaru.models.sources.find import find_model

ESCAPE = "\x1b[31mred\x1b[2J\r\n\u202e"


def write_small(
    path: Path, architecture: str = "llama", name: str = "token_embd.weight", block_count: int = 1
) -> Path:
    """A file of one tensor."""
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_block_count(block_count)
    writer.add_embedding_length(32)
    writer.add_head_count(1)
    writer.add_tensor(name, np.zeros((4, 32), dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_no_stranger_s_text_reaches_the_terminal_with_its_escapes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of names in GGUF files, in configurations, of files; in sentences as in tables."""
    said = []
    config = json.dumps({"architectures": [ESCAPE]})
    (tmp_path / "hf").mkdir()
    (tmp_path / "hf" / "config.json").write_text(config)
    (tmp_path / "hf" / "model.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")
    cut = write_small(tmp_path / "cut.gguf", name=f"a{ESCAPE}")
    cut.write_bytes(cut.read_bytes()[:-100])
    odd = tmp_path / f"{ESCAPE.replace('/', '')}.gguf"
    for path in (tmp_path / "hf", cut, odd):
        with pytest.raises(HakaruError) as caught:
            read_model(find_model(path).path)
        said.append(str(caught.value))
    print_text(ESCAPE)
    show_table(Table([Column("", left=True), Column("")], [[ESCAPE, "1"]]))
    said.append(capsys.readouterr().out)
    assert "\x1b" not in "".join(said)
    assert "\r" not in "".join(said)
    assert "\u202e" not in "".join(said)
    assert all("red" in text for text in said)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    """Named, lying in a folder, or as importance data."""
    pipe = tmp_path / "x.gguf"
    os.mkfifo(pipe)
    for read in (
        lambda: read_model(find_model(str(pipe)).path),
        lambda: find_model(str(tmp_path)),
        lambda: read_imatrix(pipe),
    ):
        with pytest.raises(ModelNotFound):
            read()


@pytest.mark.parametrize("block_count", [513, 2**14, 2**31 - 1])
def test_more_layers_than_llama_cpp_takes_are_refused_at_once(
    tmp_path: Path, block_count: int
) -> None:
    """It would abort; and nobody counts so far."""
    began = time.perf_counter()
    with pytest.raises(ModelDamaged, match=rf"block_count is {block_count}, expected at most 512"):
        read_model(write_small(tmp_path / "x.gguf", block_count=block_count))
    assert time.perf_counter() - began < 2


@pytest.mark.parametrize(
    "class_",
    [
        "GraniteMoeHybridForCausalLM",
        "Lfm2ForCausalLM",
        "Gemma4ForConditionalGeneration",
        "Qwen3NextForCausalLM",
    ],
)
def test_a_configuration_that_counts_absurdly_is_refused_at_once(
    tmp_path: Path, class_: str
) -> None:
    """Two thousand million layers are not unrolled first."""
    numbers = dict.fromkeys(
        (
            "num_hidden_layers", "hidden_size", "num_attention_heads", "num_key_value_heads",
            "intermediate_size", "vocab_size", "mamba_n_heads", "mamba_d_head", "mamba_d_conv",
            "mamba_d_state", "mamba_n_groups", "conv_L_cache", "head_dim", "global_head_dim",
            "num_kv_shared_layers", "linear_num_value_heads", "linear_value_head_dim",
            "linear_conv_kernel_dim", "linear_key_head_dim", "linear_num_key_heads",
            "mtp_num_hidden_layers",
        ),
        2**31 - 1,
    )  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps({"architectures": [class_], **numbers}))
    header = json.dumps({"mtp.x": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    (tmp_path / "model.safetensors").write_bytes(
        len(header).to_bytes(8, "little") + header + bytes(4)
    )
    began = time.perf_counter()
    with pytest.raises(
        ModelDamaged, match=r"num_hidden_layers is 2147483647, expected at most 512"
    ):
        find_model(tmp_path)
    assert time.perf_counter() - began < 2


def tensor_table(
    path: Path, rows: list[tuple[bytes, tuple[int, ...], int]], keys: bytes = b"", n_keys: int = 0
) -> Path:
    """A file with this tensor table (name, shape, offset; F32) and room for its data."""
    raw = (
        b"GGUF"
        + np.array([3], "<u4").tobytes()
        + np.array([len(rows), n_keys], "<u8").tobytes()
        + keys
    )
    for name, shape, offset in rows:
        raw += (
            np.array([len(name)], "<u8").tobytes()
            + name
            + np.array([len(shape)], "<u4").tobytes()
            + np.array(shape, "<u8").tobytes()
        )
        raw += np.array([0], "<u4").tobytes() + np.array([offset], "<u8").tobytes()
    path.write_bytes(raw + bytes(8192))
    return path


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([(b"a", (32,), 0), (b"a", (32,), 128)], "stands twice"),
        ([(b"a", (32,), 0), (b"b", (32,), 64)], "begins at byte 64 of the data, expected 128"),
        (
            [(b"a", (32,), 0), (b"b", (32,), 256)],
            r"begins at byte 256 of the data, expected 128: llama\.cpp takes tensors only in",
        ),
        ([(b"a", (32,), 128), (b"b", (32,), 0)], "begins at byte 128 of the data, expected 0"),
        ([(b"a", (32,), 32)], "begins at byte 32 of the data, expected 0"),
        ([(b"a", (32, 0), 0)], "has the shape"),
        ([(b"a", (2**47, 2**47, 2**47), 0)], "the download is incomplete"),
        ([(b"", (32,), 0)], "has the shape"),
    ],
)
def test_a_tensor_table_that_llama_cpp_refuses_is_refused(
    tmp_path: Path, rows: list[tuple[bytes, tuple[int, ...], int]], words: str
) -> None:
    """Twice, overlapping, with gaps, out of order, without weights, without a name."""
    with pytest.raises(ModelError, match=words):
        read_header(tensor_table(tmp_path / "x.gguf", rows))


def test_a_scalar_has_one_weight(tmp_path: Path) -> None:
    """A tensor without dimensions, as ggml counts it."""
    assert read_header(tensor_table(tmp_path / "x.gguf", [(b"a", (), 0)])).tensors[0].shape == (1,)


@pytest.mark.parametrize(
    ("kind", "raw"),
    [
        (4, b"\x03\0\0\0"),
        (4, b"\0\0\0\0"),
        (4, b"\0\0\0\x40"),
        (10, b"\x20" + bytes(7)),
        (6, b"\0\0\0\x42"),
    ],
)
def test_an_alignment_that_llama_cpp_refuses_is_refused(
    tmp_path: Path, kind: int, raw: bytes
) -> None:
    """No power of two, none at all, a gigabyte, a number of 64 bits, a fraction."""
    key = b"general.alignment"
    keys = np.array([len(key)], "<u8").tobytes() + key + np.array([kind], "<u4").tobytes() + raw
    with pytest.raises(ModelDamaged, match="an alignment"):
        read_header(tensor_table(tmp_path / "x.gguf", [(b"a", (32,), 0)], keys, 1))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 4683073184\n",
            "is a Git LFS pointer and not the weights",
        ),
        (b"<!DOCTYPE html><html><title>Sign in", "is a web page"),
        (b"\n<html lang=en>" + bytes(50), "is a web page"),
        (b"PK\x03\x04" + bytes(100), "is an archive"),
        (b"\x1f\x8b\x08" + bytes(100), "is a compressed archive"),
    ],
)
def test_what_came_instead_of_a_file_is_told(tmp_path: Path, content: bytes, words: str) -> None:
    """In place of a GGUF file as of a shard."""
    (tmp_path / "x.gguf").write_bytes(content)
    with pytest.raises(ModelError, match=words):
        read_model(tmp_path / "x.gguf")
    (tmp_path / "x.safetensors").write_bytes(content)
    with pytest.raises(ModelError, match=words):
        read_stored(tmp_path / "x.safetensors")


def test_a_shard_named_alone_leads_to_its_folder(tmp_path: Path) -> None:
    """A safetensors file has no configuration."""
    header = b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}'
    (tmp_path / "model.safetensors").write_bytes(
        len(header).to_bytes(8, "little") + header + bytes(4)
    )
    with pytest.raises(ModelError, match="is a safetensors file; name the folder"):
        read_model(find_model(str(tmp_path / "model.safetensors")).path)


@pytest.mark.parametrize("reference", ["a" * 5000, "a" * 5000 + ".gguf", "a/" + "b" * 300])
def test_a_name_that_cannot_be_one_is_a_sentence(
    reference: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Wherever a model is named; never "the output cannot be written"."""
    for command in (["show", reference], ["quantize", reference, "--type", "Q4_K_M"]):
        assert run(command) == 4
        assert "output cannot be written" not in capsys.readouterr().err
