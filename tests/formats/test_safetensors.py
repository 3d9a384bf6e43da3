"""The safetensors reader believes nothing either."""

import json
from pathlib import Path

import pytest

from hakaru.errors import ModelDamaged, ModelNotFound
from hakaru.formats.bounded_json import MAX_MARKS
from hakaru.formats.safetensors import read_stored


def write(path: Path, header: bytes | dict[str, object], data: int = 0) -> Path:
    """A file with that header and `data` zero bytes."""
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(raw).to_bytes(8, "little") + raw + bytes(data))
    return path


def row(dtype: object, shape: object, begin: int, end: int) -> dict[str, object]:
    """One entry as the format writes it."""
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def test_names_types_shapes_and_bytes(tmp_path: Path) -> None:
    """Worked by hand: 2 x 3 BF16 take 12 bytes, a scalar F32 four, eight 4-bit numbers four, an
    empty tensor none.
    """
    header = {
        "a": row("BF16", [2, 3], 0, 12),
        "s": row("F32", [], 12, 16),
        "q": row("F4", [8], 16, 20),
        "e": row("I8", [0], 20, 20),
    }
    found = read_stored(
        write(tmp_path / "x.safetensors", {**header, "__metadata__": {"format": "pt"}}, 20)
    )
    assert {t.name: (t.dtype, t.shape, t.n_bytes) for t in found.tensors} == {
        "a": ("BF16", (2, 3), 12),
        "s": ("F32", (), 4),
        "q": ("F4", (8,), 4),
        "e": ("I8", (0,), 0),
    }
    assert found.file_bytes == found.data_offset + 20


@pytest.mark.parametrize(
    ("header", "data", "words"),
    [
        (b"{", 0, "no JSON"),
        (b"[]", 0, "JSON without names"),
        (b"[" * 100_000, 0, "no JSON"),
        (b'{"a": ' + b"9" * 5000 + b"}", 0, "no JSON"),
        (b'{"a": 1, "a": 2}', 0, "a name stands twice"),
        (b"," * (MAX_MARKS + 1), 0, "no JSON"),
        ({"a": 1}, 0, "tensor a has dtype None"),
        ({"a": row("F33", [1], 0, 4)}, 4, "dtype F33"),
        ({"a": row(["F32"], [1], 0, 4)}, 4, "tensor a has dtype"),
        ({"a": row("F32", [True], 0, 4)}, 4, r"shape \[True\]"),
        ({"a": row("F32", [-1], 0, 4)}, 4, r"shape \[-1\]"),
        ({"a": row("F32", [2**60], 0, 4)}, 4, "shape"),
        ({"a": row("F32", [1] * 9, 0, 4)}, 4, "shape"),
        ({"a": row("F32", [2], 0, 4)}, 4, "tensor a takes 4 bytes, expected 8"),
        ({"a": row("F4", [1], 0, 0)}, 0, "tensor a takes 0 bytes"),
        (
            {"a": row("F32", [1], 0, 4), "b": row("F32", [1], 2, 6)},
            6,
            "tensor b begins at byte 2, expected 4",
        ),
        ({"a": row("F32", [1], 4, 8)}, 8, "tensor a begins at byte 4, expected 0"),
        ({"a": row("F32", [1], 0, 4)}, 3, "the download is incomplete"),
        ({"a": row("F32", [1], 0, 4)}, 5, "the tensors end at byte"),
    ],
)
def test_damage_is_one_sentence(
    tmp_path: Path, header: bytes | dict[str, object], data: int, words: str
) -> None:
    """Where, what was found, what was expected."""
    path = write(tmp_path / "x.safetensors", header, data)
    with pytest.raises(ModelDamaged, match=words) as caught:
        read_stored(path)
    assert str(path) in str(caught.value)


def test_a_length_is_checked_before_it_is_believed(tmp_path: Path) -> None:
    """Neither an empty file, nor one that promises exabytes, nor none at all."""
    path = tmp_path / "x.safetensors"
    with pytest.raises(ModelNotFound, match="there is no such file"):
        read_stored(path)
    for content, words in (
        (b"", "the header ends at byte 8"),
        (b"\xff" * 8, "a header of 18446744073709551615 bytes"),
    ):
        path.write_bytes(content)
        with pytest.raises(ModelDamaged, match=words):
            read_stored(path)
