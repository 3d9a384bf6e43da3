"""Energy is what the counters say was spent in between."""

from pathlib import Path

import pytest

from hakaru.hardware import energy
from hakaru.hardware.energy import Energy, read_energy


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(energy, "_nvidia", dict)


def package(
    root: Path,
    name: str,
    microjoules: int | None,
    wraps_at: int = 262_143_328_850,
    called: str = "package-0",
) -> None:
    """A folder as Linux shows it; None: the file is not to be read."""
    folder = root / name
    folder.mkdir(exist_ok=True)
    (folder / "name").write_text(f"{called}\n")
    (folder / "max_energy_range_uj").write_text(f"{wraps_at}\n")
    if microjoules is not None:
        (folder / "energy_uj").write_text(f"{microjoules}\n")


def test_packages_count_and_their_parts_do_not(tmp_path: Path) -> None:
    """Two sockets; the cores are in their package's figure, and a laptop's psys holds its
    package.
    """
    zones = (
        ("intel-rapl:0", 1, "package-0"),
        ("intel-rapl:0:0", 2, "core"),
        ("intel-rapl:1", 5, "package-1"),
        ("intel-rapl:2", 9, "psys"),
    )
    for name, joules, called in zones:
        package(tmp_path, name, joules * 1_000_000, called=called)
    before = read_energy(tmp_path)
    assert before.joules == {"intel-rapl:0": 1.0, "intel-rapl:1": 5.0}
    package(tmp_path, "intel-rapl:0", 3_500_000)
    assert read_energy(tmp_path).since(before) == 2.5


def test_a_counter_that_began_again_is_no_gift(tmp_path: Path) -> None:
    """It wraps where it says it does."""
    package(tmp_path, "intel-rapl:0", 9_000_000, wraps_at=10_000_000)
    before = read_energy(tmp_path)
    package(tmp_path, "intel-rapl:0", 2_000_000, wraps_at=10_000_000)
    assert read_energy(tmp_path).since(before) == pytest.approx(3.0)


def test_a_machine_that_does_not_tell_has_no_figure(tmp_path: Path) -> None:
    """No folder, or one that only root may read."""
    assert read_energy(tmp_path / "none").since(read_energy(tmp_path / "none")) is None
    package(tmp_path, "intel-rapl:0", None)
    assert read_energy(tmp_path).since(read_energy(tmp_path)) is None
    assert Energy({"gpu": 7.0}, {"gpu": float("inf")}).since(Energy({"gpu": 3.0}, {})) == 4.0
