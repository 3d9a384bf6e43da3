"""Files that were cut up are told so, with the command that joins them, and not as an incomplete
download.
"""

from pathlib import Path

import pytest

from hakaru.errors import HakaruError, ModelDamaged, ModelNotFound, ModelUnknown
from hakaru.formats.pieces import cut_up, piece_of
from hakaru.models.model import read_model
from hakaru.models.sources.find import find_model
from hakaru.testing import write_tiny_llama
from loopback import Loopback

SCHEMES = {
    "part1of2": ("x.Q6_K.gguf.part1of2", "x.Q6_K.gguf.part2of2"),
    "split-a": ("x.gguf-split-a", "x.gguf-split-b", "x.gguf-split-c"),
    "split(1)": ("x.ggufaa", "x.ggufab", "x.ggufac"),
    "numbers": ("x.gguf.001", "x.gguf.002", "x.gguf.003"),
    "from 0": ("x.gguf.00", "x.gguf.01"),
    "partaa": ("x.gguf.partaa", "x.gguf.partab"),
    "before the ending": ("x-split-a.gguf", "x-split-b.gguf"),
    "part of": ("x.part1of3.gguf", "x.part2of3.gguf", "x.part3of3.gguf"),
}


def cut(folder: Path, names: tuple[str, ...]) -> bytes:
    """A whole model cut into so many files; returns its bytes."""
    source = write_tiny_llama(folder / "whole.bin")
    raw = source.read_bytes()
    source.unlink()
    step = -(-len(raw) // len(names))
    for i, name in enumerate(names):
        (folder / name).write_bytes(raw[i * step : (i + 1) * step])
    return raw


@pytest.mark.parametrize("scheme", SCHEMES)
def test_any_piece_says_how_all_are_joined(tmp_path: Path, scheme: str) -> None:
    """The command, done by a shell, gives the whole model."""
    names = SCHEMES[scheme]
    raw = cut(tmp_path, names)
    for name in names:
        with pytest.raises(ModelUnknown, match=rf"cut into {len(names)} pieces") as caught:
            find_model(str(tmp_path / name))
        assert "incomplete" not in str(caught.value)
    command = str(caught.value).rpartition("in order: ")[2]
    assert command.startswith("cat ") and command.split()[1:-2] == list(names)
    (tmp_path / "joined.gguf").write_bytes(
        b"".join((tmp_path / name).read_bytes() for name in command.split()[1:-2])
    )
    assert (tmp_path / "joined.gguf").read_bytes() == raw
    read_model(tmp_path / "joined.gguf")


@pytest.mark.parametrize(
    ("scheme", "without", "missing"),
    [
        ("part1of2", 1, "x.Q6_K.gguf.part2of2"),
        ("split-a", 1, "x.gguf-split-b"),
        ("numbers", 0, "x.gguf.001"),
        ("partaa", 0, "x.gguf.partaa"),
    ],
)
def test_a_missing_piece_is_named(tmp_path: Path, scheme: str, without: int, missing: str) -> None:
    """As far as the other names tell."""
    names = SCHEMES[scheme]
    cut(tmp_path, names)
    (tmp_path / names[without]).unlink()
    with pytest.raises(ModelNotFound, match=rf"and {missing} is not there; fetch it"):
        find_model(str(tmp_path / next(n for i, n in enumerate(names) if i != without)))


def test_all_missing_pieces_stand_in_the_command(tmp_path: Path) -> None:
    """Of three pieces one is here."""
    (tmp_path / "x.gguf.part2of3").write_bytes(b"x")
    with pytest.raises(
        ModelNotFound,
        match=r"x\.gguf\.part1of3, x\.gguf\.part3of3 is not there"
        r".*part1of3 x\.gguf\.part2of3 x\.gguf\.part3of3 >",
    ):
        find_model(str(tmp_path / "x.gguf.part2of3"))


def test_a_folder_of_pieces_and_the_whole_name_say_the_same(tmp_path: Path) -> None:
    """Also where the person names the file that is not there yet."""
    cut(tmp_path, SCHEMES["part1of2"])
    for reference in (str(tmp_path), str(tmp_path / "x.Q6_K.gguf")):
        with pytest.raises(ModelUnknown, match="cut into 2 pieces"):
            find_model(reference)
    whole = write_tiny_llama(tmp_path / "whole.gguf")
    assert find_model(str(tmp_path)).path == whole


def test_pieces_at_the_hub(hub: Loopback) -> None:
    """By their type, or where there is nothing else."""
    hub.add_repository(
        "org/repo",
        {
            "x.Q6_K.gguf.part1of2": b"GGUF",
            "x.Q6_K.gguf.part2of2": b"x",
            "x.Q8_0.gguf-split-a": b"GGUF",
        },
    )
    with pytest.raises(
        ModelUnknown,
        match=r"cut into 2 pieces"
        r".*cat x\.Q6_K\.gguf\.part1of2 x\.Q6_K\.gguf\.part2of2 > x\.Q6_K\.gguf",
    ):
        find_model("hf:org/repo:Q6_K")


@pytest.mark.parametrize(
    "name",
    [
        "x.gguf.bak",
        "x.gguf.md",
        "x.gguf.txt",
        "x.gguf_file",
        "x-00001-of-00002.gguf",
        "part.gguf",
        "x.gguf.sha",
    ],
)
def test_other_names_are_no_pieces(name: str) -> None:
    """Nor are the parts of a split model."""
    assert not cut_up([name, "x.gguf"])
    assert piece_of(name) is None or not piece_of(name).marked  # type: ignore[union-attr]


def test_a_piece_at_an_address(web: Loopback) -> None:
    """The others' names follow from its own."""
    with pytest.raises(ModelNotFound, match=r"x\.gguf\.part2of2 is not there"):
        find_model(f"{web.url}/x.gguf.part1of2")
    with pytest.raises(ModelUnknown, match="one piece of a file that was cut"):
        find_model(f"{web.url}/x.gguf-split-a")
    assert not web.asked


def test_a_whole_file_with_a_piece_s_name_is_a_model(tmp_path: Path) -> None:
    """Where the name ends in .gguf, the header decides; a truncated file of another name stays an
    incomplete download.
    """
    path = write_tiny_llama(tmp_path / "x-part-1.gguf")
    assert find_model(str(path)).path == path
    cut_off = tmp_path / "y.gguf"
    cut_off.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(ModelDamaged, match="incomplete"):
        read_model(find_model(str(cut_off)).path)


@pytest.mark.parametrize("name", ["x.gguf.part", "x.gguf.incomplete", "x.gguf.crdownload"])
def test_an_unfinished_download_stays_one(tmp_path: Path, name: str) -> None:
    """Browsers and tools call them so."""
    raw = write_tiny_llama(tmp_path / "x.gguf").read_bytes()
    (tmp_path / "x.gguf").unlink()
    (tmp_path / name).write_bytes(raw[: len(raw) // 2])
    with pytest.raises(HakaruError, match="download is incomplete"):
        read_model(find_model(str(tmp_path / name)).path)
