"""Where a model may be: a path, a folder, the Hub, its cache, Ollama's store. What is found is a
file that can be read.
"""

import json
import math
import os
import shutil
from pathlib import Path

import pytest
from huggingface_hub import constants

from checkpoints import checkpoint_of, stored
from hakaru.errors import HakaruError, Misuse, ModelDamaged, ModelNotFound, Offline
from hakaru.models.model import read_model
from hakaru.models.sources import find
from hakaru.models.sources.choice import choices, choose, projector
from hakaru.models.sources.find import find_model, whole_model
from hakaru.models.sources.reference import (
    Address,
    HubFile,
    Local,
    OllamaName,
    Word,
    parse_reference,
)
from hakaru.testing import llama_tensors, tiny_shape, write_header_only, write_tiny_llama
from loopback import COMMIT, Loopback

HUB = "https://huggingface.co"


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("models/x.gguf", Local(path=Path("models/x.gguf").absolute())),
        ("x.gguf", Local(path=Path("x.gguf").absolute())),
        ("qwen3-8b", Word(text="qwen3-8b")),
        ("hf:org/repo", HubFile(repo="org/repo", revision=None, file=None)),
        ("hf:org/Repo-GGUF:Q4_K_M", HubFile(repo="org/Repo-GGUF", revision=None, file="Q4_K_M")),
        (
            "hf:org/repo@v1.0:sub/x.gguf",
            HubFile(repo="org/repo", revision="v1.0", file="sub/x.gguf"),
        ),
        ("https://host/a/x.gguf", Address(url="https://host/a/x.gguf")),
        (f"{HUB}/org/repo", HubFile(repo="org/repo", revision=None, file=None)),
        (
            f"{HUB}/org/repo/resolve/main/x%20y.gguf?download=true",
            HubFile(repo="org/repo", revision=None, file="x y.gguf"),
        ),
        (
            f"{HUB}/org/repo/blob/abc/x.gguf",
            HubFile(repo="org/repo", revision="abc", file="x.gguf"),
        ),
        ("ollama:llama3.2", OllamaName(name="registry.ollama.ai/library/llama3.2", tag="latest")),
        ("ollama:me/mine:3b", OllamaName(name="registry.ollama.ai/me/mine", tag="3b")),
        ("ollama:hf.co/org/repo:Q8_0", OllamaName(name="hf.co/org/repo", tag="Q8_0")),
    ],
)
def test_what_a_person_types_has_one_meaning(text: str, meant: object) -> None:
    """And says itself again, where it is no path."""
    found = parse_reference(text)
    assert found == meant
    if isinstance(found, HubFile | OllamaName):
        assert parse_reference(str(found)) == found


@pytest.mark.parametrize(
    "text",
    [
        "hf:",
        "hf:repo",
        "hf:../x",
        "hf:org/repo:../../x",
        "hf:org/repo@..:x",
        "ollama:",
        "ollama:a/b/c/d",
        "ollama:../x",
    ],
)
def test_what_has_no_meaning_is_misuse(text: str) -> None:
    """With an example of what is expected."""
    with pytest.raises(Misuse, match="expected such as"):
        parse_reference(text)


FILES: dict[str, int | None] = {
    "x-Q4_K_M.gguf": 4, "x-Q4_K_S.gguf": 3, "UD/x-UD-Q4_K_XL-00001-of-00002.gguf": 1,
    "UD/x-UD-Q4_K_XL-00002-of-00002.gguf": 2, "x-Q8_0.gguf": 8, "mmproj-x-F16.gguf": 9,
    "mmproj-x-BF16.gguf": 9, "imatrix.gguf": 1, "README.md": 1,
}  # fmt: skip


@pytest.mark.parametrize(
    ("wanted", "name"),
    [
        ("q8_0", "x-Q8_0.gguf"),
        ("Q4_K_M", "x-Q4_K_M.gguf"),
        ("X-q4_k_s.GGUF", "x-Q4_K_S.gguf"),
        ("UD-Q4_K_XL", "UD/x-UD-Q4_K_XL-00001-of-00002.gguf"),
        ("x-UD-Q4_K_XL-00002-of-00002.gguf", "UD/x-UD-Q4_K_XL-00001-of-00002.gguf"),
    ],
)
def test_a_type_or_a_name_chooses(wanted: str, name: str) -> None:
    """In any case of letters; split files are one choice, whichever part is named."""
    assert choose("repo", choices(FILES), wanted).name == name
    assert choose("repo", choices(FILES), wanted).bytes == (3 if "UD" in name else FILES[name])


def test_an_ambiguous_choice_lists_the_choices_with_their_sizes() -> None:
    """Four models; projectors and importance matrices are none; Q4_K is not Q4_K_M."""
    with pytest.raises(
        ModelNotFound, match=r"repo: has 4 models that may be meant.*x-Q4_K_M\.gguf \(4 B\)"
    ):
        choose("repo", choices(FILES), None)
    with pytest.raises(ModelNotFound, match="nothing there is named 'Q4_K'; there is: UD/"):
        choose("repo", choices(FILES), "Q4_K")
    assert projector(FILES) == "mmproj-x-F16.gguf"


def test_any_part_of_a_split_model_means_the_whole(tmp_path: Path) -> None:
    """Its tensors joined, its bytes summed, the first part's path."""
    whole = read_model(write_tiny_llama(tmp_path / "whole.gguf"))
    first = write_tiny_llama(tmp_path / "s.gguf", part_tensors=8)
    for part in sorted(tmp_path.glob("s-*.gguf")):
        model = read_model(find_model(str(part)).path)
        assert (model.path, len(model.parts), model.complete) == (first, 3, True)
        assert model.file_bytes == sum(p.stat().st_size for p in model.parts)
        assert {t.name: t.shape for t in model.tensors} == {t.name: t.shape for t in whole.tensors}
        assert model.weights_bytes == whole.weights_bytes


def test_a_folder_means_its_only_model(tmp_path: Path) -> None:
    """With its projector as companion; a second model makes it ambiguous."""
    model = write_tiny_llama(tmp_path / "a-Q8_0.gguf")
    (tmp_path / "mmproj-a.gguf").write_bytes(b"GGUF1234")
    found = find_model(tmp_path)
    assert (found.path, found.complete, found.companions[0].bytes) == (model, True, 8)
    shutil.copy(model, tmp_path / "b.gguf")
    with pytest.raises(ModelNotFound, match="has 2 models that may be meant"):
        find_model(str(tmp_path))


def test_a_header_without_weights_is_not_run(tmp_path: Path) -> None:
    """A header and a hole can be read, but is refused where weights are needed."""
    path = write_header_only(tmp_path / "x.gguf", tiny_shape())
    assert not find_model(path).complete
    with pytest.raises(ModelNotFound, match="is only a header, its weights are not here"):
        whole_model(path)


@pytest.mark.parametrize(
    ("word", "words"),
    [
        ("qwen3-8", "did you mean qwen3-8b"),
        ("llama3", "did you mean llama-3"),
        ("elyza", "did you mean llama-3-elyza-jp-8b"),
        ("qwen3:8b", "did you mean qwen3-8b"),
        ("Qwen/Qwen3-8B", "a repository of Hugging Face is named hf:Qwen/Qwen3-8B"),
        ("zzzz", "neither a file nor a model of the catalogue; name a GGUF file"),
        ("nosuch/file", "there is no such file"),
        ("nosuch.gguf", "there is no such file"),
    ],
)
def test_a_word_that_is_no_model_gets_a_hint(word: str, words: str) -> None:
    """Near names of the catalogue, or what can be named."""
    with pytest.raises(ModelNotFound, match=words):
        read_model(find_model(word).path)


def test_a_repository_is_asked_once_and_the_rest_is_its_file_s_header(
    hub: Loopback, tiny: Path
) -> None:
    """One listing, then ranges of the one file at that commit; the projector's size comes
    with it.
    """
    hub.add_repository(
        "org/repo", {"x-Q8_0.gguf": tiny, "x-F16.gguf": tiny, "mmproj-F16.gguf": b"12345"}
    )
    found = find_model("hf:org/repo:q8_0")
    assert (found.origin, found.version, found.complete) == (
        "hf:org/repo:x-Q8_0.gguf",
        COMMIT,
        False,
    )
    assert (found.companions[0].name, found.companions[0].bytes) == ("mmproj-F16.gguf", 5)
    assert found.fetch == "hakaru pull hf:org/repo:x-Q8_0.gguf"
    assert {path for path, _ in hub.asked} == {
        "/api/models/org/repo",
        f"/org/repo/resolve/{COMMIT}/x-Q8_0.gguf",
    }
    assert read_model(found.path).n_params == read_model(tiny).n_params
    with pytest.raises(
        ModelNotFound, match=r"fetch them with: hakaru pull hf:org/repo:x-Q8_0\.gguf"
    ):
        whole_model("hf:org/repo:q8_0")
    assert find_model(f"{hub.url}/org/repo/blob/main/x-Q8_0.gguf").origin == found.origin


def test_offline_mode_knows_what_was_asked_before(
    hub: Loopback, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The known repository answers, the unknown one is exit code 5, and nothing is sent."""
    hub.add_repository("org/repo", {"x.gguf": tiny})
    path = find_model("hf:org/repo").path
    hub.asked.clear()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert find_model("hf:org/repo").path == path
    with pytest.raises(Offline, match="HF_HUB_OFFLINE is set") as caught:
        find_model("hf:org/other")
    assert caught.value.exit_code == 5
    assert not hub.asked


def test_the_hub_s_cache_is_used_in_place(
    hub: Loopback, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that lies whole in the Hugging Face cache is never copied, and needs no network;
    offline too.
    """
    hub.add_repository("org/repo", {"x-Q8_0.gguf": tiny, "y.gguf": tiny})
    room = Path(constants.HF_HUB_CACHE) / "models--org--repo"
    snapshot = room / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (room / "refs").mkdir()
    (room / "refs" / "main").write_text(COMMIT)
    (snapshot / "x-Q8_0.gguf").symlink_to(tiny)
    found = find_model("hf:org/repo:Q8_0")
    assert (found.path, found.complete, hub.asked) == (snapshot / "x-Q8_0.gguf", True, [])
    assert whole_model("hf:org/repo:q8_0").n_params == read_model(tiny).n_params
    with pytest.raises(ModelNotFound, match="has 2 models"):
        find_model("hf:org/repo")
    assert not find_model("hf:org/repo:y.gguf").complete
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert find_model("hf:org/repo").path == found.path


def test_a_repository_of_safetensors_becomes_a_header(hub: Loopback) -> None:
    """config.json, the index, and every shard as a header and a hole: what a local Hugging Face
    folder is; and of these the header that llama.cpp's converter would write.
    """
    shape = tiny_shape(n_embd=1024, n_ff=2048)
    config, tensors = checkpoint_of(shape)
    half = len(tensors) // 2
    halves = [dict(list(tensors.items())[:half]), dict(list(tensors.items())[half:])]
    shards = {
        f"model-0000{i}-of-00002.safetensors": stored(part)
        for i, part in enumerate(halves, start=1)
    }
    index = json.dumps(
        {
            "weight_map": {
                n: f"model-0000{i}-of-00002.safetensors"
                for i, part in enumerate(halves, 1)
                for n in part
            }
        }
    )
    hub.add_repository(
        "org/repo",
        {
            "config.json": config,
            "model.safetensors.index.json": index.encode(),
            "consolidated.safetensors": b"x",
            **shards,
        },
    )
    folder = find._find("hf:org/repo")
    assert folder.path.is_dir() and not folder.complete
    assert sorted(p.name for p in folder.path.iterdir()) == sorted(
        ["config.json", "model.safetensors.index.json", *shards]
    )
    for name in shards:
        assert (folder.path / name).stat().st_blocks * 512 <= 2**13
    found = find_model("hf:org/repo")
    model = read_model(found.path)
    assert (found.complete, found.note, model.type_name) == (False, None, "BF16")
    assert model.n_params == sum(math.prod(dims) for _, dims in llama_tensors(shape))
    assert model.shape.n_head_kv == shape.n_head_kv


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        (b"<html>", ModelDamaged, "is no answer of a Hugging Face Hub"),
        (b"[]", ModelDamaged, "is no answer"),
        (b'{"sha": 1, "siblings": [{}]}', ModelDamaged, "is no answer"),
        (b'{"sha": "a", "siblings": []}', ModelNotFound, "there is no GGUF model"),
        (
            b'{"sha": "a", "siblings": [{"rfilename": "../x.gguf"}, {"rfilename": "/x.gguf"}]}',
            ModelNotFound,
            "there is no GGUF model",
        ),
        (
            b'{"sha": "a", "siblings": [{"rfilename": "x-00001-of-00002.gguf"}]}',
            ModelNotFound,
            "1 of its 2 parts are missing",
        ),
        (b"[" * 100_000, ModelDamaged, "is no answer"),
    ],
)
def test_a_strange_hub_is_refused(
    hub: Loopback, answer: bytes, error: type[HakaruError], words: str
) -> None:
    """Whatever answers in its place."""
    hub.files["/api/models/org/repo"] = answer
    with pytest.raises(error, match=words):
        find_model("hf:org/repo")


def test_a_missing_repository_is_said_as_the_hub_says_it(hub: Loopback) -> None:
    """The Hub answers 401 for what is private and for what does not exist."""
    hub.statuses["/api/models/org/nosuch"] = [(401, {"X-Error-Code": "RepoNotFound"})]
    with pytest.raises(ModelNotFound, match="or there is no such model; check the name"):
        find_model("hf:org/nosuch")


def write_ollama(store: Path, name: str, layers: list[tuple[str, bytes]]) -> None:
    """A model in Ollama's store."""
    (store / "blobs").mkdir(parents=True, exist_ok=True)
    rows = []
    for i, (kind, content) in enumerate(layers):
        digest = f"{i:064x}"
        (store / "blobs" / f"sha256-{digest}").write_bytes(content)
        rows.append(
            {
                "mediaType": f"application/vnd.ollama.image.{kind}",
                "digest": f"sha256:{digest}",
                "size": len(content),
            }
        )
    manifest = store / "manifests" / name
    manifest.parent.mkdir(parents=True, exist_ok=True)
    manifest.write_text(json.dumps({"layers": rows}))


def test_ollama_s_models_are_used_in_place(tmp_path: Path, tiny: Path) -> None:
    """The manifest's model layer, with the projector as companion."""
    store = tmp_path / "ollama"
    write_ollama(
        store,
        "registry.ollama.ai/library/tiny/1b",
        [("template", b"x"), ("model", tiny.read_bytes()), ("projector", b"123")],
    )
    found = find_model("ollama:tiny:1b")
    assert (found.path, found.complete) == (store / "blobs" / f"sha256-{1:064x}", True)
    assert (found.companions[0].role, found.companions[0].bytes) == ("mmproj", 3)
    assert whole_model("ollama:tiny:1b").n_params == read_model(tiny).n_params
    assert found.workplace == Path.cwd() / "tiny-1b"
    with pytest.raises(
        ModelNotFound, match="Ollama has no such model on this machine; there is: ollama:tiny:1b"
    ):
        find_model("ollama:tiny")


@pytest.mark.parametrize(
    ("manifest", "words"),
    [
        (b"{", "is no manifest of Ollama"),
        (
            (
                b'{"layers": [{"mediaType": "application/vnd.ollama.image.model", "digest": '
                b'"sha256:../../x"}]}'
            ),
            "is no manifest",
        ),
        (b'{"layers": []}', "has no model on this machine"),
        (
            b'{"layers": [{"mediaType": "application/vnd.ollama.image.model", "digest": "sha256:'
            + b"0" * 64
            + b'"}]}',
            "is missing; run: ollama pull tiny:latest",
        ),
    ],
)
def test_a_damaged_store_is_one_sentence(tmp_path: Path, manifest: bytes, words: str) -> None:
    """Exit code 4."""
    path = tmp_path / "ollama/manifests/registry.ollama.ai/library/tiny/latest"
    path.parent.mkdir(parents=True)
    path.write_bytes(manifest)
    with pytest.raises((ModelDamaged, ModelNotFound), match=words):
        find_model("ollama:tiny")


def test_a_name_that_is_no_text_is_refused(tmp_path: Path) -> None:
    """It could not be written into the ledger."""
    odd = write_tiny_llama(tmp_path / "m.gguf").rename(tmp_path / os.fsdecode(b"\xff.gguf"))
    with pytest.raises(Misuse, match="is no text in UTF-8"):
        find_model(odd)
