"""A header-only file is a whole GGUF file to every reader, and takes no disk."""

from pathlib import Path

import gguf
import pytest

from hakaru.engine.lab import Lab
from hakaru.errors import MachineError
from hakaru.formats.gguf import read_header
from hakaru.formats.header_file import header_tensors, without_vocabulary, write_header_only
from hakaru.formats.header_values import Array
from hakaru.formats.metadata import MetadataValue
from hakaru.memory.settings import ContextSettings
from hakaru.models.catalogue import known_models
from hakaru.testing import write_header

LLAMA_70B = next(m for m in known_models() if m.id == "llama-3.1-70b-instruct")
PLAIN: dict[str, MetadataValue] = {"general.architecture": "llama", "llama.block_count": 1}


def test_gguf_py_reads_what_we_write(tmp_path: Path) -> None:
    """Every kind of value and the tensor table, by the format's own library."""
    values: dict[str, MetadataValue] = {
        **PLAIN, "a.large": 2**40, "a.negative": -3, "a.flag": True, "a.real": 0.5,
        "a.text": "文字",
        "a.flags": [True, False], "a.reals": [0.5, 1.5], "a.texts": ["x", "yz"],
        "a.numbers": [1, 2, 3], "a.signed": [-1, 2],
    }  # fmt: skip
    path = write_header_only(
        tmp_path / "x.gguf",
        values,
        [("a.weight", (64, 3)), ("a.bias", (3,)), ("b.weight", (32, 2, 2))],
        "Q8_0",
    )
    reader = gguf.GGUFReader(path)
    assert {
        key: field.contents() for key, field in reader.fields.items() if not key.startswith("GGUF.")
    } == values
    found = [
        (t.name, [int(n) for n in t.shape], t.tensor_type.name, int(t.n_bytes))
        for t in reader.tensors
    ]
    assert found == [
        ("a.weight", [64, 3], "Q8_0", 204),
        ("a.bias", [3], "F32", 12),
        ("b.weight", [32, 2, 2], "Q8_0", 136),
    ]


def test_we_read_what_we_write(tmp_path: Path) -> None:
    """The same numbers through our own reader."""
    tensors = list(LLAMA_70B.tensors())
    path = write_header_only(tmp_path / "70b.gguf", LLAMA_70B.metadata(), tensors)
    header = read_header(path)
    assert [(t.name, t.shape) for t in header.tensors] == tensors
    assert header.tensors == header_tensors(tensors)
    assert {
        k: list(v.values or ()) if isinstance(v, Array) else v for k, v in header.metadata.items()
    } == pytest.approx(LLAMA_70B.metadata())


def test_the_hole_takes_no_disk(tmp_path: Path) -> None:
    """141 GB in size, less than 100 KB in blocks; and nothing else is left in the directory."""
    path = write_header_only(tmp_path / "70b.gguf", LLAMA_70B.metadata(), LLAMA_70B.tensors())
    assert path.stat().st_size > 141 * 10**9
    assert path.stat().st_blocks * 512 < 100_000
    assert list(tmp_path.iterdir()) == [path]


def test_rows_that_do_not_divide_stay_in_f16() -> None:
    """As converters do when a type's blocks do not fit."""
    rows = header_tensors([("a.weight", (100, 2)), ("b.weight", (256, 2))], "Q4_K")
    assert [t.type.name for t in rows] == ["F16", "Q4_K"]
    assert rows[1].offset == 416  # 400 bytes, padded to 32


def test_types_by_name() -> None:
    """A recipe's own types are taken as they are."""
    rows = header_tensors(
        [("a.weight", (256, 2)), ("a.bias", (2,))], {"a.weight": "Q6_K", "a.bias": "F16"}
    )
    assert [t.type.name for t in rows] == ["Q6_K", "F16"]


def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    """No half file, no traceback."""
    with pytest.raises(MachineError, match="cannot be written"):
        write_header_only(tmp_path / "nowhere" / "x.gguf", PLAIN, [])


@pytest.mark.engine
def test_a_70b_is_laid_out_from_its_header(tmp_path: Path) -> None:
    """Without weights and without a vocabulary."""
    path = write_header_only(
        tmp_path / "70b.gguf",
        without_vocabulary(LLAMA_70B.metadata(), LLAMA_70B.n_vocab),
        LLAMA_70B.tensors(),
    )
    run = Lab().dry_run(path, ContextSettings(n_ctx=4096))
    assert run.kv_cache_bytes == 80 * 4096 * 2 * 8 * 128 * 2


@pytest.mark.engine
def test_any_architecture_can_be_written_from_metadata(tmp_path: Path) -> None:
    """`hakaru.testing.write_header`: a model of one's own in one call."""
    known = next(m for m in known_models() if m.architecture == "gemma2")
    path = write_header(
        tmp_path / "x.gguf", known.metadata(), n_vocab=known.n_vocab, tied=True, type_="Q8_0"
    )
    run = Lab().dry_run(path, ContextSettings(n_ctx=4096))
    assert run.weights_bytes == pytest.approx(known.n_params * 34 / 32, rel=1e-3)
