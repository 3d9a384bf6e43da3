"""What a recipe's files look like is known to the byte before anything is written."""

from pathlib import Path

import gguf
import pytest

from hakaru.errors import Misuse
from hakaru.formats.gguf import read_header
from hakaru.models.model import read_model
from hakaru.quantization.layout import how_made, lay_out, planned_bytes
from hakaru.testing import tiny_shape, write_header_only


def test_a_70b_model_is_laid_out_from_its_header(tmp_path: Path) -> None:
    """No weight is read: 141 GB of F16 become 8.5 bits per weight, and only kilobytes are on the
    disk.
    """
    shape = tiny_shape(
        n_layer=80, n_embd=8192, n_ff=28672, n_head=64, n_head_kv=(8,) * 80, n_vocab=128256
    )
    model = read_model(write_header_only(tmp_path / "70b.gguf", shape))
    types = {t.name: "Q8_0" for t in model.tensors if len(t.shape) > 1}
    assert planned_bytes(model, types) * 8 / model.n_params == pytest.approx(8.5, rel=1e-3)
    parts = lay_out(model, types, tmp_path / "small.gguf", split_bytes=40 * 10**9).files
    assert [f.path.name for f in parts] == [
        "small-00001-of-00002.gguf",
        "small-00002-of-00002.gguf",
    ]
    assert max(f.file_bytes for f in parts) < 40.1 * 10**9


def test_tensors_stand_by_layer_and_name(tiny: Path, tmp_path: Path) -> None:
    """As in llama.cpp's map of weights: what belongs to no layer first, layer 2 before layer 10."""
    model = read_model(write_header_only(tmp_path / "m.gguf", tiny_shape(n_layer=11)))
    names = [t.name for t in lay_out(model, {}, tmp_path / "x.gguf").files[0].tensors]
    assert names[:4] == [
        "output.weight",
        "output_norm.weight",
        "token_embd.weight",
        "blk.0.attn_k.weight",
    ]
    assert names.index("blk.2.attn_k.weight") < names.index("blk.10.attn_k.weight")
    assert sorted(names) == sorted(t.name for t in model.tensors)


def test_a_part_never_cuts_a_tensor(tmp_path: Path) -> None:
    """A limit below the largest tensor gives it a part of its own; no part is empty."""
    model = read_model(write_header_only(tmp_path / "m.gguf", tiny_shape()))
    layout = lay_out(model, {}, tmp_path / "x.gguf", split_bytes=1)
    assert [len(f.tensors) for f in layout.files] == [1] * len(model.tensors)
    with pytest.raises(
        Misuse, match=r"parts of 1 bytes would be 4503 files, expected at most 4096"
    ):
        lay_out(
            read_model(write_header_only(tmp_path / "n.gguf", tiny_shape(n_layer=500))),
            {},
            tmp_path / "x.gguf",
            split_bytes=1,
        )


@pytest.mark.parametrize(
    ("type_", "number"),
    [
        ("Q4_K", 15),
        ("Q3_K", 12),
        ("Q8_0", 7),
        ("IQ2_S", 28),
        ("MXFP4", 38),
        ("BF16", 32),
        ("NVFP4", None),
    ],
)
def test_the_file_type_is_that_of_most_bytes(
    tmp_path: Path, type_: str, number: int | None
) -> None:
    """llama.cpp's number of the preset that is made of it; none where it has none."""
    model = read_model(write_header_only(tmp_path / "m.gguf", tiny_shape()))
    types = {t.name: type_ for t in model.tensors if len(t.shape) > 1}
    header = lay_out(model, types, tmp_path / "x.gguf").files[0].header
    (tmp_path / "x.gguf").write_bytes(header + bytes(10**7))
    assert read_header(tmp_path / "x.gguf").metadata.get("general.file_type") == number


def test_an_alignment_of_the_source_is_kept(tmp_path: Path) -> None:
    """A source whose tensors lie at multiples of 128 gives a file that says so and does so."""
    writer = gguf.GGUFWriter(tmp_path / "m.gguf", "llama")
    writer.add_custom_alignment(128)
    writer.add_block_count(1)
    writer.add_context_length(64)
    writer.add_embedding_length(32)
    writer.add_feed_forward_length(32)
    writer.add_head_count(1)
    for i in range(3):
        writer.add_tensor(f"blk.0.t{i}.weight", gguf.np.zeros((3, 32), dtype=gguf.np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    model = read_model(tmp_path / "m.gguf")
    (file,) = lay_out(model, {"blk.0.t1.weight": "Q8_0"}, tmp_path / "x.gguf").files
    assert [t.offset for t in file.tensors] == [0, 384, 512]  # 384 bytes of F32, 102 of Q8_0
    assert len(file.header) % 128 == 0
    assert file.file_bytes == len(file.header) + 512 + 384


def test_a_recipe_is_identified_by_its_types_alone(tiny: Path) -> None:
    """The order of the tensors is no matter; a type is."""
    model = read_model(tiny)
    one, two = (
        how_made(model, {"a": "Q8_0", "b": "Q4_K"}),
        how_made(model, {"b": "Q4_K", "a": "Q8_0"}),
    )
    assert one == two
    assert one != how_made(model, {"a": "Q8_0", "b": "Q5_K"})
    assert how_made(
        model, {}, source_sha256="s", importance_sha256="i", texts={"t": "h"}
    ).keys() - one.keys() == {
        "hakaru.recipe.source.sha256",
        "hakaru.recipe.importance.sha256",
        "hakaru.recipe.text.t",
    }
