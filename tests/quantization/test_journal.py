"""The journal tells what is done, and nothing that is not; kept tensors stay within their limit."""

import os
from pathlib import Path

import pytest

from hakaru.quantization.blobs import Blobs
from hakaru.quantization.journal import journal_path, locked_journal, unfinished


def test_a_line_counts_when_it_is_whole(tmp_path: Path) -> None:
    """A name that was cut by a crash is not done."""
    out = tmp_path / "x.gguf"
    with locked_journal(out) as journal:
        journal.begin("d", [tmp_path / ".x.gguf.part"])
        journal.add(["a", "b\n c"])
    with journal_path(out).open("a") as file:
        file.write('"cut')
    with locked_journal(out) as journal:
        assert journal.continues("d")
        assert not journal.continues("e")
        assert journal.done == {"a", "b\n c"}


def test_another_write_deletes_what_an_earlier_one_left(tmp_path: Path) -> None:
    """Its hidden files, and no file that only its journal claims to be one."""
    out, old, mine = tmp_path / "x.gguf", tmp_path / ".x.gguf.part", tmp_path / "mine.txt"
    for path in (old, mine):
        path.write_text("…")
    journal_path(out).write_text(
        '{"digest": "d", "parts": [".x.gguf.part", "mine.txt", "../mine.txt", 3]}\n'
    )
    with locked_journal(out) as journal:
        journal.begin("e", [])
    assert not old.exists()
    assert mine.exists()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nonsense\n",
        "[1]\n",
        '"a"\n',
        '{"digest": 1}\n"a"\n',
        '{"parts": [".gone.part"]}\n"a"\n',
    ],
)
def test_a_damaged_journal_is_none(tmp_path: Path, text: str) -> None:
    """Nothing to continue with, and no traceback."""
    journal_path(tmp_path / "x.gguf").write_text(text)
    assert unfinished(tmp_path / "x.gguf") is None
    with locked_journal(tmp_path / "x.gguf") as journal:
        assert not journal.continues("d")


def test_a_journal_that_told_nothing_is_not_left(tmp_path: Path) -> None:
    """A refusal before the work leaves no file."""
    with pytest.raises(KeyError), locked_journal(tmp_path / "x.gguf"):
        raise KeyError
    assert list(tmp_path.iterdir()) == []


def test_what_was_used_longest_ago_goes_first(tmp_path: Path) -> None:
    """Three blobs of 40 bytes in 100: the oldest goes; one of another size is not used."""
    blobs, part = Blobs(tmp_path / "kept", 100), tmp_path / "part"
    part.write_bytes(bytes(range(200)))
    for i, key in enumerate(("a", "b")):
        blobs.keep(key, part, 10 * i, 40)
        os.utime(tmp_path / "kept" / key, (i, i))
    assert blobs.copy_to("a", part, 100, 40)  # used now
    assert part.read_bytes()[100:140] == bytes(range(40))
    blobs.keep("c", part, 0, 40)
    assert sorted(p.name for p in (tmp_path / "kept").iterdir()) == ["a", "c"]
    assert not blobs.copy_to("b", part, 0, 40)
    assert not blobs.copy_to("a", part, 0, 39)
    assert blobs.takes(50)
    assert not blobs.takes(51)


def test_a_disk_that_refuses_a_blob_is_no_error(tmp_path: Path) -> None:
    """Keeping is a favour."""
    blobs = Blobs(tmp_path / "kept", 100)
    blobs.folder.rmdir()
    (tmp_path / "part").write_bytes(bytes(50))
    blobs.keep("a", tmp_path / "part", 0, 40)
    assert not blobs.copy_to("a", tmp_path / "part", 0, 40)
