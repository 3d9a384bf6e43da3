"""Drafts for the rows of `choose`: found by names alone, with the memory that the engine would take
for the same pair.
"""

from collections.abc import Callable
from pathlib import Path

import pytest

from hakaru.models.catalogue import known_models
from hakaru.models.model import as_preset, read_model
from hakaru.models.sources.find import find_model
from hakaru.planning.extras import draft_extra
from hakaru.selection.choose import choose
from hakaru.selection.contender import Contender
from hakaru.selection.drafts_here import draft_for, drafts_in
from hakaru.selection.speculative_row import guessing, guessing_lines
from hakaru.session import Session


def put(cache: Path, name: str, type_: str) -> Path:
    """An empty file in the place of a pulled model: whoever read it would fail."""
    (model,) = (model for model in known_models() if model.id == name)
    folder = cache / f"models--{model.gguf_repos[0].replace('/', '--')}" / "snapshots" / "0123"
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{name}-{type_}.gguf"
    file.touch()
    return file


def row_of(name: str) -> Contender:
    return choose("chat", hardware="RTX 4090", model=name).rows[0]


def test_a_draft_of_the_row_s_vocabulary_is_found(tmp_path: Path) -> None:
    """Of one maker and architecture, with or without experts; of its types the smallest of four
    bits; not of a third of the size or more, and not of another family with as many tokens.
    """
    small = put(tmp_path, "qwen3-0.6b", "Q4_K_M")
    for name, type_ in (("qwen3-0.6b", "Q2_K"), ("qwen3-0.6b", "Q8_0"), ("qwen3-4b", "Q8_0")):
        put(tmp_path, name, type_)
    put(tmp_path, "qwen3-embedding-0.6b", "Q8_0")
    drafts = drafts_in(tmp_path, known_models())
    assert len(drafts) == 4
    for name in ("qwen3-8b", "qwen3-30b-a3b"):
        found = draft_for(row_of(name), drafts)
        assert found and found.path == small
    assert draft_for(row_of("qwen3-0.6b"), drafts) is None
    assert draft_for(row_of("qwen2.5-7b-instruct"), drafts) is None
    assert draft_for(row_of("gemma-3-12b-it"), drafts) is None
    (tmp_path / "empty").mkdir()
    assert drafts_in(tmp_path / "empty", known_models()) == ()


def test_lm_studio_s_folders_are_looked_into(tmp_path: Path) -> None:
    """`publisher/repository/file`, in whatever letters; of other repositories nothing is known."""
    (model,) = (model for model in known_models() if model.id == "qwen3-0.6b")
    for folder in (model.gguf_repos[0].upper(), "somebody/else"):
        (tmp_path / "models" / folder).mkdir(parents=True)
        (tmp_path / "models" / folder / "Qwen3-0.6B-Q8_0.gguf").touch()
    (draft,) = drafts_in(tmp_path / "none", known_models(), lm_studio=[tmp_path / "models"])
    assert (draft.model, draft.type) == (model, "Q8_0")
    assert draft.path.parent.name == model.gguf_repos[0].upper().partition("/")[2]


def test_its_memory_is_that_of_the_pair(tmp_path: Path) -> None:
    """The bytes of `fit --draft` at the same settings; no gain is told that nobody measured."""
    file = put(tmp_path, "qwen3-0.6b", "Q8_0")
    row, drafts = row_of("qwen3-8b"), drafts_in(tmp_path, known_models())
    target, draft = (read_model(find_model(name).path) for name in ("qwen3-8b", "qwen3-0.6b"))
    extra = draft_extra(target, as_preset(draft, "Q8_0"), row.task.settings)
    way = guessing(row, drafts)
    assert way and way.as_json() == {
        "means": "draft", "draft": str(file), "memory_bytes": extra.bytes, "gain": None,
        "taken": None,
    }  # fmt: skip
    (line,) = guessing_lines([row], drafts)
    assert "qwen3-0.6b-Q8_0.gguf → qwen3-8b" in line and "not measured" in line
    assert guessing(row) is None


def test_a_named_machine_has_no_drafts_and_this_one_has_its_own(
    tmp_path: Path, session_with: Callable[..., Session], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of the Hub's cache, in the JSON as well."""
    put(tmp_path / "hf" / "hub", "qwen3-0.6b", "Q4_K_M")
    own = choose("chat", model="qwen3-8b", session=session_with(2**35))
    assert [draft.model.id for draft in own.drafts] == ["qwen3-0.6b"]
    rows = own.as_json()["rows"]
    assert isinstance(rows, list) and rows[0]["speculative"]["means"] == "draft"
    assert choose("chat", model="qwen3-8b", hardware="RTX 4090").drafts == ()
