"""The header reader believes nothing: damage of every kind is one sentence, and gguf-py agrees
about what is whole.
"""

import struct
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import gguf
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hakaru.engine.lab import Lab
from hakaru.errors import ModelDamaged, ModelError, ModelNotFound, ModelUnknown
from hakaru.formats.foreign_types import BITNET, IK_LLAMA, OLLAMA_MXFP4, REMOVED, REPACKED
from hakaru.formats.gguf import read_header
from hakaru.formats.quant_types import BY_ID
from hakaru.memory.settings import ContextSettings
from hakaru.models.model import read_model
from hakaru.models.sources.find import find_model
from hakaru.quantization.layout import lay_out
from hakaru.testing import tiny_shape, write_header_only, write_tiny_llama
from loopback import Loopback


def test_every_type_agrees_with_gguf_py() -> None:
    """Names, blocks and bytes are the ones of gguf-py, for every type that it knows."""
    for type_ in gguf.GGMLQuantizationType:
        ours = BY_ID[int(type_)]
        assert (ours.name, ours.block, ours.block_bytes) == (
            type_.name,
            *gguf.GGML_QUANT_SIZES[type_],
        )


def test_a_model_reads_as_gguf_py_reads_it(embedded: Path) -> None:
    """Tensors, shapes, types and bytes of a real model."""
    ours = {t.name: (t.shape, t.type.name, t.n_bytes) for t in read_header(embedded).tensors}
    theirs = {
        t.name: (tuple(int(n) for n in t.shape), t.tensor_type.name, t.n_bytes)
        for t in gguf.GGUFReader(embedded).tensors
    }
    assert ours == theirs


def test_the_embedded_model_s_figures(embedded: Path) -> None:
    """SmolLM2-135M: 134,515,008 parameters, Q4_1 with a Q8_0 embedding, 5.74 bits per weight."""
    model = read_model(embedded)
    assert model.n_params == 134_515_008
    assert model.weights_bytes == 96_576_768
    assert model.type_name == "Q4_1"
    assert (
        model.shape.architecture,
        model.shape.n_layer,
        model.shape.n_head_kv[0],
        model.shape.n_vocab,
    ) == ("llama", 30, 3, 49152)
    assert model.bpw == pytest.approx(5.7437, abs=1e-4)


def test_a_header_only_file_takes_no_disk(tmp_path: Path) -> None:
    """A 70B model as a header and a hole: read like a whole one, a few megabytes of blocks."""
    shape = tiny_shape(
        n_layer=80, n_embd=8192, n_ff=28672, n_head=64, n_head_kv=(8,) * 80, n_vocab=32000
    )
    model = read_model(write_header_only(tmp_path / "70b.gguf", shape))
    assert model.file_bytes > 100 * 2**30
    assert model.path.stat().st_blocks * 512 < 8 * 2**20


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda p: None, ModelNotFound, "there is no such file"),
        (lambda p: p.mkdir(), ModelNotFound, "is a directory"),
        (lambda p: p.write_bytes(b""), ModelDamaged, "the file is empty"),
        (
            lambda p: p.write_text("# a text\n"),
            ModelDamaged,
            "not a GGUF file: it begins with '# a '",
        ),
        (lambda p: p.write_bytes(b"GG"), ModelDamaged, "the download is incomplete"),
        (
            lambda p: p.write_bytes(b"GGUF" + struct.pack("<III", 1, 0, 0)),
            ModelUnknown,
            "GGUF version 1 .*newer file",
        ),
        (
            lambda p: p.write_bytes(b"GGUF" + struct.pack("<IQQ", 4, 0, 0)),
            ModelUnknown,
            "GGUF version 4, expected 2 or 3",
        ),
        (
            lambda p: p.write_bytes(b"GGUF" + struct.pack(">IQQ", 3, 0, 0)),
            ModelUnknown,
            "big-endian GGUF file.*gguf-convert-endian",
        ),
        (
            lambda p: p.write_bytes(b"GGUF" + struct.pack(">IQQ", 2, 0, 0)),
            ModelUnknown,
            "big-endian GGUF file",
        ),
        (
            lambda p: p.write_bytes(b"FUGG" + struct.pack(">IQQ", 3, 0, 0)),
            ModelUnknown,
            "big-endian GGUF file",
        ),
        (
            lambda p: p.write_bytes(b"tjgg" + struct.pack("<II", 3, 0)),
            ModelUnknown,
            "the format GGJT, older than GGUF",
        ),
        (
            lambda p: p.write_bytes(b"lmgg" + struct.pack("<II", 1, 0)),
            ModelUnknown,
            "the format GGML.*whisper",
        ),
        (
            lambda p: p.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 2**60, 0)),
            ModelDamaged,
            "1152921504606846976 tensors",
        ),
        (
            lambda p: p.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 0, 2**40)),
            ModelDamaged,
            "metadata keys",
        ),
        (
            lambda p: p.write_bytes(b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 2**50)),
            ModelDamaged,
            "bytes in a string",
        ),
        (
            lambda p: p.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 0, 0)),
            ModelUnknown,
            "without tensors",
        ),
    ],
)
def test_what_is_no_model_is_refused(
    tmp_path: Path, make: Callable[[Path], object], error: type[ModelError], words: str
) -> None:
    """The sentence says where, what was found and what to do; the exit code is 4."""
    path = tmp_path / "x.gguf"
    make(path)
    with pytest.raises(error, match=words) as caught:
        read_model(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 4


def write_odd_header(path: Path, odd: Callable[[gguf.GGUFWriter], object]) -> Path:
    """A small file of the llama architecture with what `odd` adds to its metadata."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(1)
    writer.add_embedding_length(32)
    writer.add_head_count(1)
    odd(writer)
    writer.add_tensor("token_embd.weight", np.zeros((4, 32), dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_a_part_of_a_split_model_is_not_taken_for_the_whole(tmp_path: Path) -> None:
    """Its tensors are only some of them: the parts are found by their names, and a part under
    another name is refused.
    """
    path = write_odd_header(
        tmp_path / "part-00001-of-00003.gguf", lambda w: w.add_uint16("split.count", 3)
    )
    with pytest.raises(
        ModelNotFound,
        match=r"2 of its 3 parts are missing, the first of them part-00002-of-00003\.gguf",
    ):
        read_model(path)
    with pytest.raises(ModelUnknown, match="one part of a model split into 3 files"):
        read_model(path.rename(tmp_path / "renamed.gguf"))


def test_a_negative_number_of_heads_is_damage(tmp_path: Path) -> None:
    """And not a negative cache."""
    path = write_odd_header(
        tmp_path / "negative.gguf", lambda w: w.add_int32("llama.attention.head_count_kv", -4)
    )
    with pytest.raises(ModelDamaged, match="head_count_kv is -4"):
        read_model(path)


def test_a_truncated_model_names_the_tensor_and_both_sizes(tiny: Path, tmp_path: Path) -> None:
    """A download that stopped is recognized before the engine sees it."""
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(tiny.read_bytes()[:-1000])
    with pytest.raises(
        ModelDamaged,
        match=r"tensor \S+ ends at byte [\d,]+ but the file has [\d,]+; the download is incomplete",
    ):
        read_model(cut)


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_no_damage_escapes_as_another_error(
    tiny: Path, tmp_path: Path, data: st.DataObject
) -> None:
    """Any bytes of the header changed, or the file cut anywhere: a model, or a typed error; nothing
    else.
    """
    whole = bytearray(tiny.read_bytes()[:16384])
    for _ in range(data.draw(st.integers(0, 8))):
        at = data.draw(st.integers(0, len(whole) - 9))
        whole[at : at + 8] = data.draw(st.binary(min_size=8, max_size=8))
    path = tmp_path / "fuzzed.gguf"
    path.write_bytes(
        bytes(whole[: data.draw(st.integers(0, len(whole)))])
        + bytes(data.draw(st.sampled_from([0, 2**20])))
    )
    with suppress(ModelError):
        read_model(path)


def renumbered(path: Path, version: int) -> Path:
    """The same file with another version in its fifth byte."""
    raw = bytearray(path.read_bytes())
    raw[4:8] = struct.pack("<I", version)
    other = path.with_name(f"v{version}.gguf")
    other.write_bytes(bytes(raw))
    return other


@pytest.mark.engine
def test_version_2_reads_and_is_laid_out_as_version_3(tiny: Path, tmp_path: Path) -> None:
    """The bytes are the same, and llama.cpp takes it: its dry run gives the same bytes for both."""
    whole = tmp_path / "v3-source.gguf"
    whole.write_bytes(tiny.read_bytes())
    old = renumbered(whole, 2)
    assert read_header(old).version == 2
    assert read_model(old).tensors == read_model(whole).tensors
    assert read_model(old).layout_digest == read_model(whole).layout_digest
    runs = [Lab().dry_run(path, ContextSettings(n_ctx=512)) for path in (whole, old)]
    assert runs[0].weights_bytes == runs[1].weights_bytes > 0


def test_a_copy_of_version_2_is_the_copy_of_version_3(
    tiny: Path, tmp_path: Path, hub: Loopback
) -> None:
    """What the writer lays out has the current version and is the same for both; a stand-in keeps
    the header that it was given.
    """
    whole = tmp_path / "source.gguf"
    whole.write_bytes(tiny.read_bytes())
    old = renumbered(whole, 2)
    layouts = [
        lay_out(read_model(path), {"output.weight": "Q8_0"}, tmp_path / "out.gguf")
        for path in (whole, old)
    ]
    assert layouts[0].files[0].header == layouts[1].files[0].header
    assert layouts[1].files[0].header[4:8] == struct.pack("<I", 3)
    hub.add_repository("org/old", {"old.gguf": old})
    there = find_model("hf:org/old").path
    assert read_header(there).version == 2
    assert read_model(there).tensors == read_model(whole).tensors


def test_a_split_model_of_version_2_is_joined(tmp_path: Path) -> None:
    """Parts written in 2023 belong together as those of today do."""
    first = write_tiny_llama(tmp_path / "s.gguf", part_tensors=8)
    expected = {t.name for t in read_model(first).tensors}
    for part in sorted(tmp_path.glob("s-*.gguf")):
        renumbered(part, 2).replace(part)
    assert {t.name for t in read_model(first).tensors} == expected


def test_a_file_that_was_turned_around_is_said_so(tiny: Path, tmp_path: Path) -> None:
    """gguf-py writes big-endian files itself: the sentence names its program, with which they are
    turned back.
    """
    path = tmp_path / "big.gguf"
    writer = gguf.GGUFWriter(path, "llama", endianess=gguf.GGUFEndian.BIG)
    writer.add_block_count(1)
    writer.add_tensor("token_embd.weight", np.zeros((4, 32), dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(
        ModelUnknown, match=r"big-endian GGUF file .*gguf-convert-endian \S+big\.gguf little"
    ):
        read_model(path)


def with_type_number(
    path: Path, number: int, architecture: str = "llama", file_type: int = 2
) -> Path:
    """A file whose only matrix has the type `number`."""
    key = b"general.file_type"
    raw = (
        b"GGUF"
        + struct.pack("<IQQ", 3, 1, 2)
        + struct.pack("<Q", len(key))
        + key
        + struct.pack("<II", 4, file_type)
    )
    key = b"general.architecture"
    raw += (
        struct.pack("<Q", len(key))
        + key
        + struct.pack("<IQ", 8, len(architecture))
        + architecture.encode()
    )
    raw += (
        struct.pack("<Q", 17) + b"token_embd.weight" + struct.pack("<IQQIQ", 2, 256, 4, number, 0)
    )
    path.write_bytes(raw + bytes(4096))
    return path


@pytest.mark.parametrize(
    ("number", "architecture", "words"),
    [
        (4, "gptoss", "stored as Ollama's MXFP4 .*run the file with Ollama"),
        (4, "llama", "stored as Ollama's MXFP4"),
        (5, "llama", "stored as Q4_3 .*removed in 2023"),
        (31, "llama", "stored as Q4_0_4_4 .*fetch the model as Q4_0,"),
        (33, "qwen2", "stored as Q4_0_8_8 .*fetch the model as Q4_0,"),
        (37, "llama", "stored as IQ4_NL_4_8 .*fetch the model as IQ4_NL,"),
        (36, "bitnet-b1.58", "stored as I2_S .*bitnet.cpp"),
        (38, "bitnet-25", "stored as TL1 .*bitnet.cpp"),
        (39, "bitnet-b1.58", "stored as TL2 .*bitnet.cpp"),
        (99, "llama", "stored as Q8_X4 .*ik_llama.cpp"),
        (137, "deepseek2", "stored as IQ2_K .*run the file with ik_llama.cpp"),
        (157, "qwen3moe", "stored as IQ2_KL .*run the file with ik_llama.cpp"),
        (202, "llama", "stored as Q4_0_R8 .*run the file with ik_llama.cpp"),
        (344, "llama", "stored as IQ4_KS_R4 .*run the file with ik_llama.cpp"),
        (43, "llama", "type number 43, which neither this hakaru's llama.cpp nor any fork"),
        (1011, "llama", "type number 1011, which neither"),
    ],
)
def test_a_type_that_llama_cpp_does_not_read_is_named(
    tmp_path: Path, number: int, architecture: str, words: str
) -> None:
    """Which it is, whose it is and what to do; nobody is told to update hakaru."""
    with pytest.raises(ModelUnknown, match=words) as caught:
        read_model(with_type_number(tmp_path / "x.gguf", number, architecture))
    assert "update hakaru" not in str(caught.value)
    assert "token_embd.weight" in str(caught.value)


def test_a_llama_in_bitnet_s_types_is_told_by_its_preset(tmp_path: Path) -> None:
    """Falcon 3 in 1.58 bits is a plain Llama to bitnet.cpp; only its number 40 tells I2_S from
    IQ4_NL_4_4.
    """
    with pytest.raises(ModelUnknown, match="stored as I2_S "):
        read_model(with_type_number(tmp_path / "x.gguf", 36, file_type=40))
    with pytest.raises(ModelUnknown, match="stored as IQ4_NL_4_4 "):
        read_model(with_type_number(tmp_path / "x.gguf", 36))


def test_no_foreign_number_is_one_that_llama_cpp_reads() -> None:
    """But BitNet's TL2, which took the number that ggml later gave to MXFP4; gguf-py knows none of
    the others.
    """
    numbers = {*IK_LLAMA, *REPACKED, *REMOVED, *BITNET, OLLAMA_MXFP4}
    assert numbers & {int(t) for t in gguf.GGMLQuantizationType} == numbers & set(BY_ID) == {39}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("attention.sliding_window", -1),
        ("attention.sliding_window", 2**32 - 1),
        ("attention.sliding_window", 4096.0),
        ("ssm.state_size", -1),
        ("ssm.conv_kernel", 0.5),
        ("shortconv.l_cache", -1),
        ("attention.q_lora_rank", -1),
        ("attention.key_length_swa", -1),
        ("expert_shared_count", -1),
        ("leading_dense_block_count", -1),
        ("embedding_length_per_layer_input", -1),
        ("context_length", 2**32 - 1),
    ],
)
def test_a_key_that_the_architecture_does_not_read_is_no_damage(
    tmp_path: Path, key: str, value: float
) -> None:
    """Its value means nothing there: the same model as without it."""
    add = "add_float32" if isinstance(value, float) else "add_int32" if value < 0 else "add_uint32"
    path = write_odd_header(tmp_path / "x.gguf", lambda w: getattr(w, add)(f"llama.{key}", value))
    plain = read_model(write_odd_header(tmp_path / "plain.gguf", lambda w: None))
    assert read_model(path).shape == plain.shape


@pytest.mark.parametrize(
    "key",
    [
        "attention.head_count",
        "feed_forward_length",
        "expert_count",
        "attention.key_length",
        "nextn_predict_layers",
    ],
)
def test_a_key_that_every_architecture_reads_is_still_checked(tmp_path: Path, key: str) -> None:
    """llama.cpp would refuse it, too."""
    path = tmp_path / "x.gguf"
    names = {"attention.head_count": "head_count"}
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(1)
    writer.add_embedding_length(32)
    if key not in names:
        writer.add_head_count(1)
    writer.add_int32(f"llama.{key}", -1)
    writer.add_tensor("token_embd.weight", np.zeros((4, 32), dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(ModelDamaged, match=f"llama.{key} is -1"):
        read_model(path)
