"""On a full disk and in a home that is read-only, commands answer that need no place that lasts;
the others say first where they cannot write.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import hakaru
from hakaru.cli import run
from hakaru.ledger import Ledger
from hakaru.models.model import read_model
from hakaru.places import cache_dir, header_dir


@pytest.fixture
def no_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Data and cache where no folder can be made."""
    file = tmp_path / "file"
    file.write_text("")
    monkeypatch.setenv("XDG_DATA_HOME", str(file))
    monkeypatch.setenv("XDG_CACHE_HOME", str(file))
    return file


@pytest.mark.engine
@pytest.mark.parametrize(
    "command",
    [
        ["fit", "MODEL"],
        ["fit", "llama-3.1-8b-instruct", "--type", "Q4_K_M", "--hardware", "L4"],
        ["show", "llama-3.1-8b-instruct"],
        ["hardware"],
        ["doctor"],
        ["quantize", "MODEL", "--type", "Q8_0", "--dry-run"],
        ["quantize", "MODEL", "--bpw", "5", "--dry-run"],
    ],
    ids=" ".join,
)
def test_who_only_asks_is_answered_without_a_home(
    no_home: Path, tiny: Path, capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    """As with one, but that nothing is remembered, which is said where it matters."""
    assert run([str(tiny) if part == "MODEL" else part for part in command]) == 0
    said = capsys.readouterr()
    assert said.out
    if command[0] in {"fit", "doctor"}:
        assert "nothing is remembered" in said.err


@pytest.mark.engine
def test_a_preset_is_written_and_tested_without_a_home(
    no_home: Path, tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The file lies where it was asked for, and the loss is told; one sentence says that nothing is
    remembered.
    """
    out = tmp_path / "small.gguf"
    write = ["quantize", str(tiny), "--type", "Q8_0", "-o", str(out)]
    read = ["test", str(out), "--reference", str(tiny), "--no-speed", "--quality", "extreme"]
    for command in (write, read):
        assert run(command) == 0
        said = capsys.readouterr()
        assert (bool(said.out), said.err.count("nothing is remembered")) == (True, 1)
    hakaru.quantize(tiny, preset="Q6_K", output=out, overwrite=True)
    assert read_model(out).type_name == "Q6_K"


def test_who_races_says_first_that_nothing_can_be_kept(
    no_home: Path, tiny: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A race takes long and needs room for the files that it compares."""
    for command in (["tune", str(tiny)], ["quantize", str(tiny), "--bpw", "5"]):
        assert run(command) == 1
        assert capsys.readouterr().err == (
            f"hakaru: {no_home}/hakaru: cannot be written (a file stands where a folder is named); "
            "choose another place.\n"
        )


def test_a_ledger_on_a_full_disk_is_read_and_goes_on_in_memory(tmp_path: Path) -> None:
    """For whoever asks: what it holds is recalled, what is new is recalled as long as the command
    runs.
    """
    path = tmp_path / "ledger.sqlite"
    Ledger(path).remember("kind", {"n": 1}, "old")
    ledger = Ledger(path, keeps=False)
    assert ledger.trouble is None
    ledger._db.connection.execute(
        "PRAGMA max_page_count = 1"
    )  # SQLite's own "database or disk is full"
    ledger.remember("kind", {"n": 2}, "new" * 10_000)
    assert (ledger.recall("kind", {"n": 1}), ledger.recall("kind", {"n": 2})) == (
        "old",
        "new" * 10_000,
    )
    assert "full" in str(ledger.trouble)
    assert Ledger(path).recall("kind", {"n": 2}) is None


def test_headers_go_elsewhere_where_the_cache_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But what the cache holds already is used."""
    usual = cache_dir("catalogue", "x")
    assert header_dir("catalogue", "x") == usual

    def usage(place: Path) -> Any:
        return shutil._ntuple_diskusage(
            10**9, 0, 0 if Path(place).is_relative_to(cache_dir()) else 10**9
        )

    monkeypatch.setattr(shutil, "disk_usage", usage)
    other = header_dir("catalogue", "x")
    assert other != usual
    assert other.is_dir()
    (usual / "kept.gguf").write_text("")
    assert header_dir("catalogue", "x") == usual


@pytest.mark.parametrize("option", ["-o", "--plot", "--report"])
def test_no_folder_is_made_in_silence(
    tmp_path: Path, tiny: Path, capsys: pytest.CaptureFixture[str], option: str
) -> None:
    """The same sentence for whatever is written, before anything is measured."""
    path = (
        tmp_path / "missing" / {"-o": "out.gguf", "--plot": "x.svg", "--report": "x.html"}[option]
    )
    command = {"-o": ["quantize", str(tiny), "--bpw", "5"]}.get(
        option, ["test", str(tiny), "--reference", str(tiny)]
    )
    assert run([*command, option, str(path)]) == 2
    assert f"there is no folder {path.parent}; make it" in capsys.readouterr().err
    assert not path.parent.exists()


@pytest.mark.engine
def test_a_budget_in_bits_is_answered_in_bits(
    tiny: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of the whole file, at most what was asked for; a size is answered as a size."""
    command = ["quantize", str(tiny), "--dry-run", "--importance", "none"]
    assert run([*command, "--bpw", "4.5", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert 4.4 < data["file_bpw"] <= data["budget_bpw"] == 4.5
    assert run([*command, "--bpw", "4.5"]) == 0
    assert f"{data['file_bpw']:.3f} bits per weight of at most 4.5 (" in capsys.readouterr().out
    assert run([*command, "--size", "900kB"]) == 0
    said = capsys.readouterr().out
    assert "of at most 878.9 KiB (" in said
    assert "bits per weight" not in said
