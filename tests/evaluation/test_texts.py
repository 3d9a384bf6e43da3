"""Texts are the same on every run, keep their part, and a person's files are read strictly."""

import subprocess
import sys
from pathlib import Path

import pytest

from hakaru.errors import Misuse
from hakaru.evaluation.texts import (
    PARTS,
    PROMPTS,
    named_prompts,
    named_texts,
    prompts_at_hand,
    texts_at_hand,
    texts_digest,
)


def test_texts_are_the_same_whatever_was_imported() -> None:
    """Otherwise the windows of a second run would be others, and everything would be read again."""
    command = (
        "from hakaru.evaluation.texts import texts_at_hand, texts_digest; "
        "print(texts_digest(texts_at_hand()))"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-c", before + command], capture_output=True, check=True
        ).stdout
        for before in ("", "import scipy.special, scipy.stats, altair; ")
    }
    assert len(digests) == 1


def test_documents_and_prompts_keep_their_part() -> None:
    """The split is by name and by place: disjoint, together everything, and every part has enough
    of every kind.
    """
    parts = [texts_at_hand([part]) for part in PARTS]
    assert sorted(d.name for part in parts for d in part) == sorted(d.name for d in texts_at_hand())
    assert len({d.text for d in texts_at_hand()}) == len(texts_at_hand())
    for documents, least in zip(parts, (12, 12, 50), strict=True):
        for domain in ("prose-en", "code"):
            assert sum(d.domain == domain for d in documents) >= least
    for domain, ours in PROMPTS.items():
        asked = [prompts_at_hand([part])[domain] for part in PARTS]
        assert sorted(p for part in asked for p in part) == sorted(ours)
        assert [len(part) for part in asked] == [5, 5, 14]
    assert (
        texts_digest(parts[0])
        == texts_digest(texts_at_hand(["calibration"]))
        != texts_digest(parts[1])
    )


def test_own_texts_are_read_strictly(tmp_path: Path) -> None:
    """UTF-8 or a sentence that names the byte."""
    latin = tmp_path / "latin.txt"
    latin.write_bytes("größe".encode("latin-1"))
    with pytest.raises(Misuse, match="not UTF-8 at byte 2"):
        named_texts([latin])
    empty = tmp_path / "empty.txt"
    empty.write_text(" \n")
    with pytest.raises(Misuse, match="the text is empty"):
        named_texts([empty])
    with pytest.raises(Misuse, match="cannot be read"):
        named_texts([tmp_path / "none.txt"])


def test_a_prompt_is_a_line_and_nothing_else_ends_it(tmp_path: Path) -> None:
    """Windows' ends of lines and byte order mark are no part of a prompt; a form feed, U+0085 or
    U+2028 within it are.
    """
    file = tmp_path / "prompts.txt"
    file.write_bytes(
        "\ufeffone\u2028still one\r\n\r\ntwo\x0cstill two\x85\n  three\x1cstill three".encode()
    )
    assert named_prompts(file) == ["one\u2028still one", "two\x0cstill two", "three\x1cstill three"]
    (document,) = named_texts([file])
    assert document.text.startswith("one")
    assert "\r" not in document.text


def test_a_text_of_another_encoding_is_said(tmp_path: Path) -> None:
    """UTF-16 begins with a byte that UTF-8 never has."""
    file = tmp_path / "wide.txt"
    file.write_text("Measure twice.", encoding="utf-16")
    with pytest.raises(Misuse, match=r"not UTF-8; it seems to be UTF-16\. .+: iconv -f UTF-16 "):
        named_texts([file])
