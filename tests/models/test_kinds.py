"""What a file is, is told by its header: projectors, adapters, imatrices, draft heads are no
models, whatever they are called.
"""

from pathlib import Path
from typing import Any

import pytest

from hakaru.errors import ModelNotFound, ModelUnknown
from hakaru.formats.gguf import first_keys, read_header
from hakaru.formats.header_values import Value
from hakaru.models.kinds import likely_role, role_of
from hakaru.models.model import read_language_model, read_model
from hakaru.models.sources.find import find_model
from hakaru.testing import tiny_shape, write_header_only, write_tiny_llama
from loopback import Loopback
from odd_files import LORA, write_odd

MTP = {
    "qwen35.block_count": 33,
    "qwen35.nextn_predict_layers": 1,
    "qwen35.embedding_length": 32,
    "qwen35.attention.head_count": 1,
}
ODD: dict[str, tuple[str, dict[str, Any], tuple[str, ...], str]] = {
    "model-q8.gguf": ("clip", {"clip.has_vision_encoder": True}, ("v.blk.0.attn_q.weight",),
        "is a projector .*`mmproj`"),
    "eyes.gguf": ("clip", {"general.type": "mmproj"}, ("v.blk.0.attn_q.weight",), "is a projector"),
    "tuned.gguf": ("llama", LORA, ("blk.0.attn_q.weight.lora_a",),
        r"LoRA adapter for Llama 3\.2 1B \(llama\)"),
    "data.gguf": ("", {"general.type": "imatrix", "imatrix.chunk_count": 1},
        ("blk.0.attn_q.weight.in_sum2",), "importance data"),
    "happy.gguf": ("controlvector", {"controlvector.model_hint": "llama"}, ("direction.1",),
        "control vector"),
    "vocab-x.gguf": ("llama", {"tokenizer.ggml.tokens": ["a", "b"]}, (),
        "a vocabulary without weights"),
    "fast.gguf": ("eagle3", {"eagle3.block_count": 1, "eagle3.embedding_length": 32},
        ("blk.0.attn_q.weight",), "draft head .*`draft`"),
    "head.gguf": ("qwen35", MTP, ("token_embd.weight", "blk.32.attn_q.weight"),
        r"draft head \(qwen35\)"),
    "flux1-dev.gguf": ("flux", {}, ("double_blocks.0.img_attn.qkv.weight",),
        "makes pictures or films"),
}  # fmt: skip


@pytest.mark.parametrize("name", ODD)
def test_what_is_no_language_model_says_what_it_is(tmp_path: Path, name: str) -> None:
    """And where it belongs; exit code 4."""
    architecture, keys, tensors, words = ODD[name]
    path = write_odd(tmp_path / name, architecture, keys, tensors)
    if architecture == "eagle3" or keys is MTP:
        path_model = {"eagle3": {"eagle3.attention.head_count": 1}}.get(architecture, {})
        path = write_odd(tmp_path / f"x-{name}", architecture, keys | path_model, tensors)
    with pytest.raises(ModelUnknown, match=words) as caught:
        read_language_model(path)
    assert (caught.value.exit_code, str(path) in str(caught.value)) == (4, True)


@pytest.mark.parametrize("name", ODD)
def test_a_folder_s_model_is_the_one_that_is_a_model(tmp_path: Path, name: str) -> None:
    """Beside any of the others, whatever they are called, there is one model, and no ambiguity."""
    model = write_tiny_llama(tmp_path / "Some-imatrix-mmproj-mtp.gguf")
    architecture, keys, tensors, _ = ODD[name]
    write_odd(tmp_path / name, architecture, keys, tensors)
    found = find_model(tmp_path)
    assert found.path == model
    role = role_of(read_header(tmp_path / name).metadata, len(tensors), set(tensors))
    assert [c.role for c in found.companions] == ([role] if role in {"mmproj", "draft"} else [])


def test_imatrix_in_a_model_s_name_does_not_hide_it(tmp_path: Path) -> None:
    """A name such as Model.i1-imatrix-Q4_K_M is that of a model that was made with importance data;
    so it is at the Hub, by its type.
    """
    model = write_tiny_llama(tmp_path / "Model-imatrix.gguf")
    assert find_model(tmp_path).path == model
    for name in (
        "Model-imatrix-Q4_K_M.gguf",
        "imatrix/Model.IQ3_XS.imatrix.gguf",
        "m-f16-imatrix.gguf",
    ):
        assert likely_role(name) is None, name
    for name in ("imatrix.gguf", "Model-imatrix.gguf", "Model.imatrix-wiki.gguf"):
        assert likely_role(name) == "imatrix", name


def test_a_model_with_one_draft_layer_is_a_model(tmp_path: Path) -> None:
    """Only a file without the first layers is a draft head."""
    metadata: dict[str, Value] = {
        "general.architecture": "qwen35",
        "qwen35.block_count": 33,
        "qwen35.nextn_predict_layers": 1,
    }
    assert (
        role_of(metadata, 3, {"token_embd.weight", "blk.0.attn_q.weight", "blk.32.attn_q.weight"})
        is None
    )
    assert role_of(metadata, 2, {"token_embd.weight", "blk.32.attn_q.weight"}) == "draft"
    assert read_model(write_header_only(tmp_path / "x.gguf", tiny_shape())).is_draft_head is False


def test_the_first_kilobytes_tell_what_a_file_is(tmp_path: Path) -> None:
    """Of a header with a vocabulary of 100,000 tokens less than a megabyte is read."""
    path = write_header_only(tmp_path / "x.gguf", tiny_shape(n_vocab=100_000), vocabulary=True)
    read = 0
    with path.open("rb") as file:

        def counted(n: int) -> bytes:
            nonlocal read
            piece = file.read(min(n, 4096))
            read += len(piece)
            return piece

        metadata, n_tensors = first_keys(path, size=path.stat().st_size, read=counted)
    assert (role_of(metadata, n_tensors), metadata["general.architecture"], n_tensors) == (
        None,
        "llama",
        21,
    )
    assert read <= 2**16


def test_at_the_hub_headers_decide_between_files(hub: Loopback, tiny: Path, tmp_path: Path) -> None:
    """A projector and an adapter without a telling name are not offered; the model is found, the
    projector comes with it.
    """
    eyes = write_odd(tmp_path / "e.gguf", "clip", {"clip.has_vision_encoder": True})
    lora = write_odd(tmp_path / "l.gguf", "llama", LORA)
    hub.add_repository(
        "org/repo", {"model-vision.gguf": eyes, "x-imatrix-Q8_0.gguf": tiny, "style.gguf": lora}
    )
    found = find_model("hf:org/repo")
    assert found.origin == "hf:org/repo:x-imatrix-Q8_0.gguf"
    assert [(c.role, c.name) for c in found.companions] == [("mmproj", "model-vision.gguf")]


def test_a_file_that_is_no_model_at_the_hub_says_what_it_is(hub: Loopback, tmp_path: Path) -> None:
    """Where it is the only one."""
    hub.add_repository(
        "org/lora", {"adapter-x.gguf": write_odd(tmp_path / "l.gguf", "llama", LORA)}
    )
    with pytest.raises((ModelUnknown, ModelNotFound), match="LoRA adapter for"):
        read_model(find_model("hf:org/lora:adapter-x.gguf").path)


def test_a_place_without_a_model_lists_what_is_there(hub: Loopback, tmp_path: Path) -> None:
    """In a folder and at the Hub, each file with what its header says."""
    folder = tmp_path / "eyes"
    folder.mkdir()
    eyes = write_odd(folder / "vision.gguf", "clip", {"clip.has_vision_encoder": True})
    with pytest.raises(
        ModelNotFound, match=r"there is no GGUF model, only vision\.gguf \(mmproj\)"
    ):
        find_model(str(folder))
    hub.add_repository("org/eyes", {"vision.gguf": eyes, "eyes.gguf": eyes, "mtp-x.gguf": b"GGUF"})
    with pytest.raises(
        ModelNotFound,
        match=r"only eyes\.gguf \(mmproj\), mtp-x\.gguf \(draft\), vision\.gguf \(mmproj\)",
    ):
        find_model("hf:org/eyes")


def test_a_model_whose_name_says_otherwise_is_found_at_the_hub(hub: Loopback, tiny: Path) -> None:
    """Its header is asked where the names leave nothing."""
    hub.add_repository("org/merged", {"lora-merged.gguf": tiny})
    assert find_model("hf:org/merged").origin == "hf:org/merged:lora-merged.gguf"


def test_a_model_is_shown_without_its_vocabulary(tiny: Path) -> None:
    """In a shell or a log; the vocabulary of a large model would take megabytes there."""
    model = read_model(tiny)
    assert len(str(model.metadata["tokenizer.ggml.tokens"])) > 1000
    assert repr(model).startswith("Model(name=") and len(repr(model)) < 300
