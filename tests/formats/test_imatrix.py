"""Importance data from strangers: read as llama.cpp writes it, checked against the model, refused
in one sentence.
"""

import struct
from pathlib import Path

import gguf
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hakaru.errors import HakaruError, Misuse, ModelDamaged, ModelNotFound
from hakaru.formats.gguf import Tensor
from hakaru.formats.imatrix import Activations, Imatrix, read_imatrix, write_imatrix
from hakaru.formats.quant_types import BY_NAME


def tensor(name: str, *shape: int) -> Tensor:
    return Tensor(name=name, shape=shape, type=BY_NAME["F16"], offset=0)


def activations(sums: list[float], counts: list[float]) -> Activations:
    return Activations(sums=np.array(sums, np.float32), counts=np.array(counts, np.float32))


DENSE, STACK = tensor("blk.0.attn_q.weight", 4, 8), tensor("blk.0.ffn_up_exps.weight", 2, 8, 3)
IMATRIX = Imatrix(
    entries={
        DENSE.name: activations([2, 4, 6, 0], [2]),
        STACK.name: activations([10, 20, 0, 0, 3, 6], [10, 0, 1]),
    },
    datasets=("a.txt", "b.txt"),
    chunk_count=7,
    chunk_size=512,
)


def test_means_are_sums_over_tokens_and_the_unseen_takes_the_average() -> None:
    """By hand: columns of a matrix, and three experts of which the second saw nothing."""
    dense, stack = IMATRIX.importance(DENSE), IMATRIX.importance(STACK)
    assert dense is not None
    assert stack is not None
    assert dense.tolist() == [[1, 2, 3, 0]]
    assert stack.tolist() == [[1, 2], [2, 4], [3, 6]]
    assert (shares := IMATRIX.shares(STACK)) is not None
    assert shares.tolist() == [10, 1, 1]


def test_nothing_known_is_none() -> None:
    """No entry, or an entry that saw no token."""
    assert IMATRIX.importance(tensor("blk.1.attn_q.weight", 4, 8)) is None
    silent = Imatrix(entries={DENSE.name: activations([0, 0, 0, 0], [0])})
    assert silent.importance(DENSE) is None
    assert silent.shares(DENSE) is None


def test_one_count_serves_all_matrices() -> None:
    """A stack that is no mixture of experts (heads of latent attention) has one count."""
    heads = tensor("blk.0.attn_k_b.weight", 2, 8, 3)
    found = Imatrix(entries={heads.name: activations([2, 4, 6, 8, 10, 12], [2])}).importance(heads)
    assert found is not None
    assert found.tolist() == [[1, 2], [3, 4], [5, 6]]


def same(a: Imatrix, b: Imatrix) -> bool:
    return (a.datasets, a.chunk_count, a.chunk_size, set(a.entries)) == (
        b.datasets,
        b.chunk_count,
        b.chunk_size,
        set(b.entries),
    ) and all(
        a.entries[n].sums.tolist() == b.entries[n].sums.tolist()
        and a.entries[n].counts.tolist() == b.entries[n].counts.tolist()
        for n in a.entries
    )


def test_what_is_written_is_read(tmp_path: Path) -> None:
    """Every number, name and count survives; nothing else is left in the folder."""
    assert same(read_imatrix(write_imatrix(tmp_path / "i.gguf", IMATRIX)), IMATRIX)
    assert [p.name for p in tmp_path.iterdir()] == ["i.gguf"]


def by_llama_cpp(path: Path, *, counts: bool = True, sums: list[float] | None = None) -> Path:
    """A file as llama.cpp's tool lays it out, made by gguf-py."""
    writer = gguf.GGUFWriter(path, "")
    writer.add_type("imatrix")
    writer.add_array("imatrix.datasets", ["wiki.txt"])
    writer.add_uint32("imatrix.chunk_count", 3)
    writer.add_uint32("imatrix.chunk_size", 512)
    writer.add_tensor(DENSE.name + ".in_sum2", np.array([sums or [2, 4, 6, 0]], np.float32))
    if counts:
        writer.add_tensor(DENSE.name + ".counts", np.array([[2]], np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_files_by_others_are_read(tmp_path: Path) -> None:
    """gguf-py's file with llama.cpp's names."""
    found = read_imatrix(by_llama_cpp(tmp_path / "i.gguf"))
    assert (found.datasets, found.chunk_count, found.chunk_size) == (("wiki.txt",), 3, 512)
    assert (means := found.importance(DENSE)) is not None
    assert means.tolist() == [[1, 2, 3, 0]]


def legacy(*, tail: bool = True) -> bytes:
    name = DENSE.name.encode()
    raw = struct.pack("<ii", 1, len(name)) + name + struct.pack("<ii4f", 5, 4, 5, 10, 15, 0)
    return raw + (struct.pack("<ii", 5, 8) + b"wiki.txt" if tail else b"")


@pytest.mark.parametrize("tail", [True, False])
def test_the_older_format_is_read(tmp_path: Path, tail: bool) -> None:
    """Values times calls: 5, 10, 15, 0 in five calls are means of 1, 2, 3, 0."""
    path = tmp_path / "i.dat"
    path.write_bytes(legacy(tail=tail))
    found = read_imatrix(path)
    assert (means := found.importance(DENSE)) is not None
    assert means.tolist() == [[1, 2, 3, 0]]
    assert found.datasets == (("wiki.txt",) if tail else ())
    assert found.chunk_count == (5 if tail else 0)


def test_data_of_this_model_passes_even_with_an_entry_more(tmp_path: Path) -> None:
    """A tied model has no output matrix, which an imatrix of its untied form names."""
    IMATRIX.check("i.gguf", "m.gguf", [DENSE, STACK])
    IMATRIX.check("i.gguf", "m.gguf", [DENSE])


@pytest.mark.parametrize(
    ("tensors", "words"),
    [
        (
            [tensor(DENSE.name, 8, 8), STACK],
            "blk.0.attn_q.weight has 1 × 4 matrices and columns, expected 1 × 8 as in m.gguf",
        ),
        (
            [DENSE, tensor(STACK.name, 2, 8, 4)],
            "blk.0.ffn_up_exps.weight has 3 × 2 matrices and columns, expected 4 × 2",
        ),
        (
            [tensor(DENSE.name, 4, 8), tensor(STACK.name, 6, 8)],
            "blk.0.ffn_up_exps.weight has 3 × 2 matrices and columns, expected 1 × 6",
        ),
        ([tensor("model.layers.0", 4, 8)], "0 of its 2 tensors are in m.gguf"),
    ],
)
def test_data_of_another_model_is_refused(tensors: list[Tensor], words: str) -> None:
    """Other rows, other experts, other names: one sentence with both numbers."""
    with pytest.raises(Misuse, match=f"i.gguf: importance data of another model: {words}"):
        IMATRIX.check("i.gguf", "m.gguf", tensors)


@pytest.mark.parametrize(
    ("made", "words"),
    [
        ({"counts": False}, "blk.0.attn_q.weight lacks its sums or counts"),
        ({"sums": [1, 2, float("nan"), 4]}, "blk.0.attn_q.weight holds what is no sum of squares"),
        ({"sums": [1, 2, -1, 4]}, "blk.0.attn_q.weight holds what is no sum of squares"),
    ],
)
def test_impossible_data_is_refused(tmp_path: Path, made: dict[str, object], words: str) -> None:
    """Missing halves and impossible numbers are named."""
    path = by_llama_cpp(tmp_path / "i.gguf", **made)  # type: ignore[arg-type]
    with pytest.raises(ModelDamaged, match=words):
        read_imatrix(path)


def test_a_model_is_no_importance_data(tiny: Path, tmp_path: Path) -> None:
    """Neither is a text, an empty file, a folder or nothing at all."""
    with pytest.raises(ModelDamaged, match="no tensor of it ends in"):
        read_imatrix(tiny)
    for name, raw in (
        ("text", b"once upon a time there was a file"),
        ("empty", b""),
        ("none", bytes(4)),
    ):
        (tmp_path / name).write_bytes(raw)
        with pytest.raises(ModelDamaged, match="no usable importance data"):
            read_imatrix(tmp_path / name)
    for path in (tmp_path, tmp_path / "absent"):
        with pytest.raises(ModelNotFound):
            read_imatrix(path)


@given(data=st.data(), old=st.booleans())
@settings(max_examples=150, deadline=None)
def test_damage_is_an_error_and_never_a_crash(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, old: bool
) -> None:
    """Bytes changed or cut anywhere: the file is read, or refused in a sentence."""
    path = tmp_path_factory.mktemp("fuzz") / "i"
    raw = bytearray(legacy() if old else write_imatrix(path, IMATRIX).read_bytes())
    for _ in range(data.draw(st.integers(0, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(raw[: data.draw(st.integers(0, len(raw)))])
    try:
        found = read_imatrix(path)
        found.check(path, "m.gguf", [DENSE, STACK])
    except HakaruError:
        return
    for t in (DENSE, STACK):
        means = found.importance(t)
        assert means is None or (means.shape[1] == t.shape[0] and np.isfinite(means).all())
