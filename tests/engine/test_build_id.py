"""A build is its version and its libraries."""

from importlib import metadata
from pathlib import Path

import pytest

from hakaru.engine.build_id import build_of, version_of_package


def installed(folder: Path, *libraries: tuple[str, str], listed: bool = True) -> None:
    """A package as an installer leaves it, with these libraries and their hashes."""
    info = folder / "some_engine-1.2.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: some-engine\nVersion: 1.2\n")
    if listed:
        lines = [f"{name},sha256={digest},10" for name, digest in libraries]
        (info / "RECORD").write_text(
            "\n".join(
                [
                    *lines,
                    "some_engine/__init__.py,sha256=abc,1",
                    "some_engine-1.2.dist-info/RECORD,,",
                ]
            )
        )


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing is remembered between two packages of one name."""
    monkeypatch.syspath_prepend(tmp_path)
    build_of.cache_clear()
    version_of_package.cache_clear()


def named(tmp_path: Path, *libraries: tuple[str, str], listed: bool = True) -> str:
    """The build of such a package, read anew."""
    folder = tmp_path / "some_engine-1.2.dist-info"
    for file in folder.glob("*"):
        file.unlink()
    if folder.exists():
        folder.rmdir()
    installed(tmp_path, *libraries, listed=listed)
    build_of.cache_clear()
    return build_of("some-engine")


def test_two_builds_of_one_version_are_two_builds(tmp_path: Path) -> None:
    """Another library gives another build, in whatever order they are listed; other files do not
    count.
    """
    cpu, gpu = ("lib/libggml-cpu.so.0", "aaa"), ("lib/libggml-cuda.so", "bbb")
    only_cpu = named(tmp_path, cpu)
    assert only_cpu.startswith("some-engine 1.2+")
    assert named(tmp_path, cpu, gpu) != only_cpu
    assert named(tmp_path, gpu, cpu) == named(tmp_path, cpu, gpu)
    assert named(tmp_path, ("lib/libggml-cpu.so.0", "ccc")) != only_cpu


def test_without_a_list_there_is_the_version(tmp_path: Path) -> None:
    """And no package at all is an error that its callers translate."""
    assert named(tmp_path, listed=False) == "some-engine 1.2"
    with pytest.raises(metadata.PackageNotFoundError):
        build_of("no-such-engine")
