"""Which build of llama.cpp computes.

Two builds of one version give other figures: one for the processor and one for a GPU, or one made
for another machine. So a build is its version and its libraries, as the installer listed them, and
no figure of one is taken for another's.

The installer's folder is read here: importing `importlib.metadata` takes longer than many a
command's whole work.
"""

import csv
import hashlib
import sys
from functools import cache
from pathlib import Path
from typing import Final

LIBRARIES: Final = (".so", ".dylib", ".dll", ".pyd")


@cache
def build_of(package: str) -> str:
    """Package, version and the first digits of a hash over its libraries, such as `xllamacpp
    2026.10.11549+1f0c9a3e`; without the hash where the installer left no list. Raises
    PackageNotFoundError.
    """
    hashes = sorted(
        f"{name}={digest.partition('=')[2]}"
        for name, digest, *_ in _files_of(package)
        if digest and any(end in Path(name).name for end in LIBRARIES)
    )
    digest = hashlib.sha256("\n".join(hashes).encode()).hexdigest()[:8]
    name = f"{package} {version_of_package(package)}"
    return f"{name}+{digest}" if hashes else name


@cache
def version_of_package(package: str) -> str:
    """The version that is installed. Raises PackageNotFoundError."""
    if folder := _folder_of(package):
        for line in (folder / "METADATA").read_text(encoding="utf-8").splitlines():
            if line.startswith("Version: "):
                return line.removeprefix("Version: ").strip()
    from importlib import metadata

    return metadata.version(package)


def _files_of(package: str) -> list[list[str]]:
    """Name, hash and size of each file, as the installer wrote them down; empty if it did not."""
    folder = _folder_of(package)
    if folder is None or not (folder / "RECORD").is_file():
        return []
    with (folder / "RECORD").open(encoding="utf-8", newline="") as record:
        return [row for row in csv.reader(record) if len(row) > 1]


def _folder_of(package: str) -> Path | None:
    """Where the installer wrote what it knows of the package; the first that Python would find."""
    name = package.replace("-", "_")
    folders = (folder for place in sys.path for folder in Path(place).glob(f"{name}-*.dist-info"))
    return next((folder for folder in folders if (folder / "METADATA").is_file()), None)
