"""A person's own entries: answered as the file itself, kept whole, and no harm to the others."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hakaru.errors import Misuse, ModelDamaged, ModelNotFound
from hakaru.formats.header_file import write_header_only
from hakaru.language import use_language
from hakaru.models.by_word import models_with
from hakaru.models.catalogue import KnownModel, catalogue_date, known_models
from hakaru.models.model import read_model
from hakaru.models.own_catalogue import HubFacts, all_models, catalogue, remember_hub
from hakaru.models.sources.catalogue_entry import add_model
from hakaru.models.sources.find import find_model
from hakaru.places import data_dir
from hakaru.testing import llama_tensors, tiny_shape, write_tiny_llama

DAY = "2026-11-30"


@pytest.fixture
def model_file(tmp_path: Path) -> Path:
    """A small model in a file with blanks in its name."""
    path = tmp_path / "My Model Q4.gguf"
    write_tiny_llama(path)
    return path


def facts(**changed: Any) -> HubFacts:
    plain: dict[str, Any] = {
        "license": "MIT", "gated": False, "languages": (), "modified": DAY, "base_repo": None,
        "gguf_repos": (),
    }  # fmt: skip
    return HubFacts(**{**plain, **changed})


def test_without_any_entry_the_catalogue_is_what_hakaru_ships() -> None:
    """And no folder is made by looking."""
    state = catalogue()
    assert state.models == known_models()
    assert (state.day, state.updated, state.n_told) == (catalogue_date(), None, 0)
    assert (state.added, state.skipped) == ((), {})
    assert not data_dir("catalogue", make=False).exists()


def test_an_added_model_is_answered_as_its_file_is(model_file: Path) -> None:
    """The same shape and the same tensors, through the front door."""
    added = add_model(str(model_file), DAY)
    assert added.model.id == "my-model-q4"
    assert catalogue().added == ("my-model-q4",)
    assert [m.id for m in models_with(["my-model"])] == ["my-model-q4"]
    file, entry = read_model(model_file), read_model(find_model("my-model-q4").path)
    assert entry.shape == file.shape
    assert [(t.name, t.shape) for t in entry.tensors] == [(t.name, t.shape) for t in file.tensors]
    assert (entry.n_params, entry.complete) == (file.n_params, False)
    assert next(m for m in all_models() if m.id == "my-model-q4").n_params == file.n_params


def test_an_architecture_without_a_record_is_answered_by_its_header(tmp_path: Path) -> None:
    """The engine may know it; the entry says what the header says."""
    tensors = [(name, shape[::-1]) for name, shape in llama_tensors(tiny_shape())]
    path = tmp_path / "new.gguf"
    keys = {"block_count": 2, "context_length": 512, "embedding_length": 256,
            "feed_forward_length": 512, "attention.head_count": 4}  # fmt: skip
    metadata = {"general.architecture": "brandnew", "general.name": "New"}
    write_header_only(path, {**metadata, **{f"brandnew.{k}": v for k, v in keys.items()}}, tensors)
    added = add_model(str(path), DAY, "new-thing")
    assert added.model.architecture == "brandnew"
    again = read_model(find_model("new-thing").path)
    assert again.shape == read_model(path).shape
    assert [t.name for t in again.tensors] == [name for name, _ in tensors]


def test_a_model_is_added_again_in_the_place_of_its_old_entry(model_file: Path) -> None:
    """One file per name."""
    add_model(str(model_file), DAY, "mine")
    first = all_models()[-1]
    write_tiny_llama(model_file, tiny_shape(n_ff=1024))
    add_model(str(model_file), DAY, "mine")
    assert catalogue().added == ("mine",)
    assert all_models()[-1].n_params > first.n_params


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("qwen3-8b", "'qwen3-8b': the catalogue that comes with hakaru has a model of this name"),
        ("My Model", "`name` is 'My Model', expected small letters"),
        ("../x", "`name` is '../x', expected small letters"),
        ("日本", "`name` is '日本', expected small letters"),
    ],
)
def test_a_name_that_cannot_be_one_is_refused(model_file: Path, name: str, words: str) -> None:
    """And nothing is written."""
    with pytest.raises(Misuse, match=words):
        add_model(str(model_file), DAY, name)
    assert not list(data_dir("catalogue", "added").iterdir())


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    """A word names no header; a file that is none is told as everywhere."""
    with pytest.raises(Misuse, match="'qwen3-8b': expected a GGUF file, a folder, hf:org/repo"):
        add_model("qwen3-8b", DAY)
    with pytest.raises(ModelNotFound):
        add_model(str(tmp_path / "none.gguf"), DAY)
    (tmp_path / "no.gguf").write_bytes(b"no model, but some text")
    with pytest.raises(ModelDamaged):
        add_model(str(tmp_path / "no.gguf"), DAY)


def cut(text: str) -> str:
    return text[: len(text) // 2]


def without(*keys: str) -> Callable[[str], str]:
    def change(text: str) -> str:
        content = json.loads(text)
        part = content
        for key in keys[:-1]:
            part = part[key]
        del part[keys[-1]]
        return json.dumps(content)

    return change


def having(value: object, *keys: str | int) -> Callable[[str], str]:
    def change(text: str) -> str:
        content = json.loads(text)
        part = content
        for key in keys[:-1]:
            part = part[key]
        part[keys[-1]] = value
        return json.dumps(content)

    return change


DAMAGES: dict[str, Callable[[str], str]] = {
    "cut": cut,
    "empty": lambda text: "",
    "no object": lambda text: "[1, 2]",
    "deep": lambda text: "[" * 100_000,
    "another schema": having("hakaru.entry/9", "schema"),
    "another name": having("else", "entry", "id"),
    "no tensors": without("entry", "table"),
    "no architecture": without("entry", "architecture"),
    "no layers": without("entry", "metadata", "block_count"),
    "layers that are text": having("two", "entry", "metadata", "block_count"),
    "a size that is text": having([["token_embd.weight", ["256", 512]]], "entry", "table"),
    "a size below 0": having([["token_embd.weight", [-256, 512]]], "entry", "table"),
    "a count that is text": having("many", "entry", "n_params"),
    "an unknown field": having(1, "entry", "colour"),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_a_broken_entry_is_named_and_skipped(
    model_file: Path, damage: Callable[[str], str]
) -> None:
    """The others stay; whoever asks for it by name hears why."""
    add_model(str(model_file), DAY, "good")
    path = add_model(str(model_file), DAY, "bad").path
    path.write_text(damage(path.read_text(encoding="utf-8")), encoding="utf-8")
    state = catalogue()
    assert state.added == ("good",)
    assert [m.id for m in state.models] == [*(m.id for m in known_models()), "good"]
    assert state.skipped.keys() == {"bad"}
    assert str(path) in state.skipped["bad"]
    with pytest.raises(ModelDamaged, match="the entry is skipped"):
        find_model("bad")


def test_an_entry_whose_name_hakaru_has_by_now_is_skipped(model_file: Path) -> None:
    """After an upgrade, say: hakaru's own counts."""
    path = add_model(str(model_file), DAY, "mine").path
    content = json.loads(path.read_text(encoding="utf-8"))
    content["entry"]["id"] = "qwen3-8b"
    path.with_stem("qwen3-8b").write_text(json.dumps(content), encoding="utf-8")
    state = catalogue()
    assert "hakaru has an entry of this name" in state.skipped["qwen3-8b"]
    assert state.added == ("mine",)


def test_the_reason_is_told_in_the_language_in_use(model_file: Path) -> None:
    """Also after it was read in the other one."""
    path = add_model(str(model_file), DAY, "bad").path
    path.write_text("", encoding="utf-8")
    english = catalogue().skipped["bad"]
    use_language("ja")
    assert catalogue().skipped["bad"] != english


def test_what_the_hub_told_counts_and_what_it_did_not_tell_stays() -> None:
    """Gating, licence, repositories; other fields and other models are as before."""
    before = {m.id: m for m in all_models()}
    told = facts(license="CC-BY-NC-4.0", gated=True, gguf_repos=("a/b",), languages=("en", "ja"))
    remember_hub({"qwen3-8b": told, "gone": facts()}, DAY, "http://hub")
    after = {m.id: m for m in all_models()}
    changed = after.pop("qwen3-8b")
    assert (changed.license, changed.gated) == ("CC-BY-NC-4.0", True)
    assert (changed.gguf_repos, changed.languages) == (("a/b",), ("en", "ja"))
    assert (changed.checked, changed.modified) == (DAY, DAY)
    assert changed.shape == before.pop("qwen3-8b").shape
    assert after == before
    assert (catalogue().day, catalogue().n_told) == (DAY, 1)
    remember_hub({"qwen3-8b": facts(license=None, gated=None)}, "2026-12-01", "http://hub")
    again = next(m for m in all_models() if m.id == "qwen3-8b")
    shipped = next(m for m in known_models() if m.id == "qwen3-8b")
    assert (again.license, again.gated) == (shipped.license, shipped.gated)


def test_what_the_hub_told_earlier_of_other_models_is_kept() -> None:
    """An update that hears of some models loses nothing."""
    remember_hub({"qwen3-8b": facts(license="A")}, "2026-11-01", "http://hub")
    remember_hub({"qwen3-14b": facts(license="B")}, DAY, "http://hub")
    licences = {m.id: m.license for m in all_models()}
    assert (licences["qwen3-8b"], licences["qwen3-14b"]) == ("A", "B")
    assert catalogue().updated == DAY


@pytest.mark.parametrize(
    "damage",
    [
        having(7, "models", "qwen3-8b", "license"),
        having("yes", "models", "qwen3-8b", "gated"),
        having("a/b", "models", "qwen3-8b", "gguf_repos"),
        having([1], "models", "qwen3-8b", "languages"),
        having("soon", "models", "qwen3-8b", "checked"),
        having(1, "models", "qwen3-8b", "n_params"),
        having(None, "models", "qwen3-8b"),
        without("models", "qwen3-8b", "modified"),
    ],
)
def test_a_broken_row_of_the_hub_is_named_and_skipped(damage: Callable[[str], str]) -> None:
    """The other rows count."""
    remember_hub({"qwen3-8b": facts(license="A"), "qwen3-14b": facts(license="B")}, DAY, "http://h")
    path = data_dir("catalogue") / "hub.json"
    path.write_text(damage(path.read_text(encoding="utf-8")), encoding="utf-8")
    licences = {m.id: m.license for m in all_models()}
    assert (licences["qwen3-8b"], licences["qwen3-14b"]) == ("Apache-2.0", "B")
    assert catalogue().skipped.keys() == {"qwen3-8b"}
    assert find_model("qwen3-8b").origin == "catalogue:qwen3-8b"


@pytest.mark.parametrize("content", ["", "[]", '{"schema": "x", "models": {}}', "{" * 99_999])
def test_a_broken_file_of_the_hub_is_named_and_the_catalogue_stays(content: str) -> None:
    """And the next update writes it anew."""
    remember_hub({"qwen3-8b": facts()}, DAY, "http://hub")
    (data_dir("catalogue") / "hub.json").write_text(content, encoding="utf-8")
    assert all_models() == known_models()
    assert catalogue().skipped.keys() == {"hub"}
    remember_hub({"qwen3-14b": facts(license="B")}, DAY, "http://hub")
    assert catalogue().skipped == {}
    assert catalogue().n_told == 1


def test_an_interrupted_write_leaves_what_was_there(
    model_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C while an entry or the Hub's word is written: the old one is whole."""
    add_model(str(model_file), DAY, "mine")
    remember_hub({"qwen3-8b": facts(license="A")}, DAY, "http://hub")
    before = all_models()

    def interrupted(*_: object, **__: object) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr("hakaru.models.own_catalogue.json.dumps", interrupted)
    with pytest.raises(KeyboardInterrupt):
        add_model(str(model_file), DAY, "mine")
    with pytest.raises(KeyboardInterrupt):
        remember_hub({"qwen3-8b": facts(license="B")}, DAY, "http://hub")
    assert all_models() == before
    assert not list(data_dir("catalogue").rglob("*.part"))


def test_every_entry_of_the_catalogue_can_be_one_s_own() -> None:
    """What is kept of a header suffices for each architecture: written from its own metadata and
    tensors, an entry has the same shape.
    """
    firsts: dict[str, KnownModel] = {}
    for model in known_models():
        firsts.setdefault(model.architecture, model)
    for model in firsts.values():
        found = find_model(model.id)
        entry = add_model(str(found.path), DAY, f"own-{model.id}").model
        read = next(m for m in all_models() if m.id == entry.id)
        assert read.shape == read_model(found.path).shape == model.shape, model.id
        assert list(read.tensors()) == list(model.tensors()), model.id
