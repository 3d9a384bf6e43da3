"""Making a native build: the pinned version's own source, compiled for this very processor.

The finished build is a folder under the data directory with programs and libraries side by side.
The folder's name ends with a key of all that the build depends on, so that a build for another
processor is never taken for it. The tree in which a build is made stays until the build is done: an
interrupted build goes on.
"""

import hashlib
import json
import platform
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from hakaru.engine.builds import (
    ABOUT_SCHEMA,
    PACKAGE,
    Build,
    about_of,
    engines_folder,
    native_in,
    processor_flags,
)
from hakaru.engine.capi import PINNED, STAMP
from hakaru.engine.compiling import QUICKER, TARGETS, check_compilers, compile_tree, options
from hakaru.engine.first_token import give_first_token
from hakaru.engine.sdist import fetch_source, fetch_tools
from hakaru.errors import EngineRefused, Interrupted, MachineError
from hakaru.hardware.machine import Machine
from hakaru.language import translate
from hakaru.places import data_dir, disk_error, one_at_a_time

Watch = Callable[[str, int, int], None]
TREE_BYTES: Final = 700 * 10**6
"""What a build for the processor takes while it is made, sources and tools included."""
BACKEND_OF_VENDOR: Final = {"nvidia": "cuda", "amd": "hip", "intel": "vulkan"}


def backend_for(machine: Machine) -> str:
    """The backend that uses this machine's GPU, or `cpu` without one that people install an engine
    for.
    """
    if machine.system == "Darwin" and platform.machine() == "arm64":
        return "metal"
    vendors = [device.vendor for device in machine.accelerators] if machine.has_gpu else []
    backends = (BACKEND_OF_VENDOR[vendor] for vendor in vendors if vendor in BACKEND_OF_VENDOR)
    return next(backends, "cpu")


def native_key(version: str, backend: str) -> str:
    """What a native build depends on, as 12 digits."""
    facts = [
        PACKAGE, version, backend, platform.system(), platform.machine(), *platform.libc_ver(),
        processor_flags(), *options(version, backend), QUICKER.read_text(encoding="utf-8"),
    ]  # fmt: skip
    return hashlib.sha256("|".join(facts).encode()).hexdigest()[:12]


def build_native(backend: str, watch: Watch) -> Build:
    """The native build for `backend`: the one that is here already, or a new one, which takes
    minutes.

    Raises MachineError without a compiler or disk, Offline without a network, EngineRefused if it
    does not compile, or compiled and does not answer (`first_token`).
    """
    folder = engines_folder() / f"native-{backend}-{native_key(PINNED, backend)}"
    if about_of(folder):
        return native_in(folder)
    check_compilers(backend)
    with one_at_a_time("engine-build"):
        if about_of(folder) is None:
            _make(folder, PINNED, backend, watch)
    return native_in(folder)


def _make(folder: Path, version: str, backend: str, watch: Watch) -> None:
    tree = data_dir("engines", f"{folder.name}.tree")
    began, n_done = time.time(), [0, 0]

    def progress(done: int, total: int) -> None:
        n_done[:] = done, total
        watch(translate("files of llama.cpp compiled"), done, total)

    try:
        if not any(tree.iterdir()) and shutil.disk_usage(tree).free < TREE_BYTES:
            raise MachineError(
                "{path}: {bytes:,} bytes must be free while an engine is made; free some space, "
                "or set XDG_DATA_HOME.",
                path=tree,
                bytes=TREE_BYTES,
            )
        watch(translate("packages fetched to compile it"), 0, 2)
        source = fetch_source(PACKAGE, version, tree)
        watch(translate("packages fetched to compile it"), 1, 2)
        tools = fetch_tools(tree)
        watch(translate("packages fetched to compile it"), 2, 2)
        programs = compile_tree(source, tree, tools, options(version, backend), progress)
        facts = {"version": version, "backend": backend, "seconds": round(time.time() - began)}
        part = _gathered(programs, source, folder, facts)
        watch(translate("first tokens of the new engine"), 0, 1)
        _try(part)
        part.rename(folder)
    except OSError as error:
        raise disk_error(error, tree) from error
    except KeyboardInterrupt as error:
        done, total = n_done
        raise Interrupted(
            translate(
                "interrupted; {done} of {total} steps of the engine are kept: hakaru engine "
                "build goes on.",
                done=done,
                total=total,
            )
        ) from error
    shutil.rmtree(tree, ignore_errors=True)


def _try(part: Path) -> None:
    """Have the build in the folder `part` answer. Raises EngineRefused where it does not; then
    nothing of it is left but its tree.
    """
    try:
        give_first_token(part)
    except EngineRefused:
        shutil.rmtree(part)
        raise


def _gathered(programs: Path, source: Path, folder: Path, facts: dict[str, object]) -> Path:
    """Programs and libraries, copied to a folder beside `folder` that is not yet a build."""
    part = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()
    libraries = sorted(
        file for file in programs.iterdir() if ".so" in file.name or file.suffix == ".dylib"
    )
    digest = hashlib.sha256()
    for file in [*(programs / name for name in TARGETS), *libraries]:
        shutil.copy2(file, part / file.name, follow_symlinks=False)
        if not file.is_symlink():
            digest.update(file.read_bytes())
    shutil.copy2(source / "LICENSE", part / "LICENSE")
    about = {
        "schema": ABOUT_SCHEMA, "package": PACKAGE, **facts, "processor": processor_flags(),
        "platform": platform.platform(), "digest": digest.hexdigest()[:8],
        "built_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }  # fmt: skip
    (part / STAMP).write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
    return part
