"""Which builds of llama.cpp are here, what each can do, and which of them are used.

There are three kinds: `wheel`, the ready-made package that is installed with hakaru;
`native-BACKEND`, the same source compiled for this very processor by `hakaru engine build`; and any
`llama-server` that the person names by its path. The lab measures with the wheel or a native build.
The server may also be the person's own. The choice is kept in one small file; HAKARU_ENGINE
overrides that file for one process and its children.
"""

import json
import os
import platform
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, Final

import platformdirs
from msgspec import Struct

from hakaru.engine.binary import identity_of_binary
from hakaru.engine.build_id import build_of, version_of_package
from hakaru.engine.capi import PINNED, STAMP, wheel_library
from hakaru.errors import EngineMissing, Misuse
from hakaru.places import data_dir, written_whole

PACKAGE: Final = "xllamacpp"
OVERRIDE: Final = "HAKARU_ENGINE"  # wheel, native, native-BACKEND, or the path of a llama-server
ABOUT_SCHEMA: Final = "hakaru.build/1"
NEWEST: Final = "native"


class Build(Struct, frozen=True, kw_only=True):
    """One build of llama.cpp on this machine."""

    name: str  # wheel, native-cpu, or the path of a person's llama-server
    identity: str  # as the ledger names it: xllamacpp 2026.10.11549 native-cpu+1f0c9a3e
    version: str | None  # of the package with its source; None: a person's (version_of_binary)
    backend: str | None  # cpu, cuda, vulkan, hip or metal; None: whatever its maker compiled in
    library: Path | None  # a file or a folder of libraries that the lab loads; None: it only serves
    server: Path | None = None  # its llama-server; None: the server inside the wheel
    quantizer: Path | None = None  # its llama-quantize
    rpc_server: Path | None = None  # its ggml-rpc-server
    mismatch: tuple[str, str] | None = None
    """What the build was made for and what is here, where they differ; None: it can be used."""

    def usable(self) -> "Build":
        """This build. Raises EngineMissing where it was made for another version or processor."""
        if self.mismatch:
            made_for, here = self.mismatch
            raise EngineMissing(
                "the engine {name} was made for {found}, expected {expected}; type hakaru engine "
                "build, or: hakaru engine use wheel",
                name=self.name,
                found=made_for,
                expected=here,
            )
        return self


class Selection(Struct, frozen=True, kw_only=True):
    """The build that measures and the build that serves."""

    lab: Build
    server: Build


def wheel() -> Build:
    """The installed package. Raises EngineMissing."""
    try:
        version = version_of_package(PACKAGE)
    except ImportError as error:
        raise EngineMissing(
            "llama.cpp is not installed: run make, or: pip install {package}.", package=PACKAGE
        ) from error
    return Build(
        name="wheel",
        identity=build_of(PACKAGE),
        version=version,
        backend=None,
        library=wheel_library(),
    )


def natives() -> list[Build]:
    """The builds that were made here, the newest first."""
    folders = engines_folder().glob("native-*")
    abouts = [(folder, about) for folder in folders if (about := about_of(folder))]
    abouts.sort(key=lambda pair: str(pair[1]["built_at"]), reverse=True)
    return [_native(folder, about) for folder, about in abouts]


def native_in(folder: Path) -> Build:
    """The finished native build in `folder`. Raises EngineMissing where there is none."""
    about = about_of(folder)
    if about is None:
        raise EngineMissing(
            "{path}: holds no native engine; make one: hakaru engine build", path=folder
        )
    return _native(folder, about)


def about_of(folder: Path) -> dict[str, Any] | None:
    """What a native build says of itself; None where there is no finished one."""
    try:
        about = json.loads((folder / STAMP).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    is_whole = isinstance(about, dict) and about.get("schema") == ABOUT_SCHEMA
    return about if is_whole and (folder / "llama-server").is_file() else None


def _native(folder: Path, about: dict[str, Any]) -> Build:
    name, version = f"native-{about['backend']}", str(about["version"])
    return Build(
        name=name,
        identity=f"{PACKAGE} {version} {name}+{about['digest']}",
        version=version,
        backend=str(about["backend"]),
        library=folder,
        server=folder / "llama-server",
        quantizer=folder / "llama-quantize",
        rpc_server=folder / "ggml-rpc-server",
        mismatch=_mismatch(about),
    )


def _mismatch(about: dict[str, Any]) -> tuple[str, str] | None:
    if about["version"] != PINNED:
        return f"{PACKAGE} {about['version']}", f"{PACKAGE} {PINNED}"
    if about["processor"] != processor_flags():
        return "another processor", "this processor"
    return None


def person_s(path: Path) -> Build:
    """The person's own `llama-server`. Raises Misuse where there is none, or one that cannot be
    used.
    """
    if not path.is_file() or not os.access(path, os.X_OK):
        raise Misuse(
            "{path}: no program stands there; expected wheel, native or the path of a "
            "llama-server.",
            path=path,
        )
    return Build(
        name=str(path),
        identity=identity_of_binary(path),
        version=None,
        backend=None,
        library=None,
        server=path,
    )


def named(name: str) -> Build:
    """The build of this name. Raises Misuse, or EngineMissing where that build was not made here or
    not for this version.
    """
    if name == "wheel":
        return wheel()
    if name == NEWEST or name.startswith(f"{NEWEST}-"):
        made = [build for build in natives() if name in (NEWEST, build.name)]
        if not made:
            raise EngineMissing(
                "there is no engine '{name}' here; make one: hakaru engine build", name=name
            )
        return next((build for build in made if not build.mismatch), made[0]).usable()
    path = Path(name).expanduser().absolute()
    return native_in(path).usable() if path.is_dir() else person_s(path)


def selection() -> Selection:
    """The builds that are used here: by HAKARU_ENGINE, else by the person's choice, else the
    wheel.
    """
    if override := os.environ.get(OVERRIDE):
        return _selected(override, before=None)
    try:
        kept = json.loads(_selection_file().read_text(encoding="utf-8"))
        lab, server = str(kept["lab"]), str(kept["server"])
    except (OSError, ValueError, KeyError, TypeError):
        lab = server = "wheel"
    return Selection(lab=named(lab), server=named(server))


def lab_build() -> str:
    """The build that measures, such as `xllamacpp 2026.10.11549+1f0c9a3e`. Raises EngineMissing."""
    return selection().lab.identity


def server_build() -> str:
    """The build that serves, spelled as `lab_build` is. Raises EngineMissing."""
    return selection().server.identity


def use(name: str) -> Selection:
    """Measure and serve with the build `name` from now on; a person's `llama-server` only
    serves.
    """
    chosen = _selected(name, before=_lab_before)
    with written_whole(data_dir() / "engine-in-use.json") as part:
        part.write_text(
            json.dumps({"lab": _kept(chosen.lab), "server": _kept(chosen.server)}) + "\n",
            encoding="utf-8",
        )
    return chosen


def _kept(build: Build) -> str:
    """The name under which the choice of `build` is kept. A native build is kept by its kind, so
    that a newer one takes its place, or by its folder if that lies elsewhere.
    """
    is_elsewhere = build.library and build.server and build.library.parent != engines_folder()
    return str(build.library) if is_elsewhere else build.name


def _selected(name: str, *, before: Callable[[], Build] | None) -> Selection:
    build = named(name)
    if build.library is not None:
        return Selection(lab=build, server=build)
    return Selection(lab=before() if before else wheel(), server=build)


def _lab_before() -> Build:
    try:
        return selection().lab
    except EngineMissing:
        return wheel()


def _selection_file() -> Path:
    return Path(platformdirs.user_data_dir("hakaru")) / "engine-in-use.json"


def engines_folder() -> Path:
    """Where native builds are kept. Not made by looking."""
    return Path(platformdirs.user_data_dir("hakaru")) / "engines"


@cache
def processor_flags() -> str:
    """The processor's instruction sets, as the system lists them; a native build is made for
    these.
    """
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor()
    listed = (line for line in lines if line.lower().startswith(("flags", "features")))
    return next((" ".join(sorted(line.split(":")[1].split())) for line in listed), "")
