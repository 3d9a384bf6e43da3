"""Drafts on the disk: of the same vocabulary, and small enough to pay."""

from collections.abc import Callable
from pathlib import Path

import pytest

from hakaru.models.model import read_model
from hakaru.models.sources.model_folders import ModelFolder
from hakaru.planning.drafts_at_hand import drafts_at_hand
from hakaru.session import Session
from hakaru.testing import tiny_shape, write_tiny_llama


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The one folder where models lie."""
    folder = tmp_path / "models"
    folder.mkdir()
    monkeypatch.setattr(
        "hakaru.planning.drafts_at_hand.model_folders",
        lambda: [ModelFolder(program="folder", path=folder)],
    )
    return folder


def test_drafts_are_small_and_of_the_same_vocabulary(
    disk: Path, session_with: Callable[..., Session], tmp_path: Path
) -> None:
    """Two that may draft, the smaller first. Not: the model itself, one of half its size, one of
    another vocabulary, a broken file.
    """
    target = read_model(write_tiny_llama(disk / "target.gguf", tiny_shape(n_layer=24)))
    write_tiny_llama(disk / "half.gguf", tiny_shape(n_layer=12))
    write_tiny_llama(disk / "six.gguf", tiny_shape(n_layer=6))
    write_tiny_llama(disk / "two.gguf")
    write_tiny_llama(disk / "foreign.gguf", tiny_shape(n_vocab=1024))
    (disk / "broken.gguf").write_bytes(b"GGUF")
    for _ in range(2):  # also from the headers that are kept, which have no vocabulary
        found = drafts_at_hand(session_with(), target)
        assert [draft.path.name for draft in found] == ["two.gguf", "six.gguf"]


def test_of_one_model_at_several_types_one_is_enough(
    disk: Path, session_with: Callable[..., Session]
) -> None:
    """The same parameters twice: two copies with other weights are one choice."""
    target = read_model(write_tiny_llama(disk / "target.gguf", tiny_shape(n_layer=24)))
    write_tiny_llama(disk / "one.gguf")
    write_tiny_llama(disk / "two.gguf", seed=2)
    assert len(drafts_at_hand(session_with(), target)) == 1
