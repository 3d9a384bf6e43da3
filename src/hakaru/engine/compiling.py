"""Compiling llama.cpp with CMake and ninja, with ninja's own count of steps as progress.

An interrupted compile leaves the tree, and the next one goes on with it. ninja itself knows which
files are whole.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

import psutil

from hakaru.errors import EngineRefused, MachineError
from hakaru.hardware.threads import threads
from hakaru.language import listed
from hakaru.places import disk_error

TARGETS: Final = ("llama-server", "llama-quantize", "ggml-rpc-server")
BACKENDS: Final[Mapping[str, tuple[str, ...]]] = {
    "cpu": ("-DGGML_METAL=OFF",),
    "cuda": ("-DGGML_CUDA=ON", "-DCMAKE_CUDA_ARCHITECTURES=native"),
    "vulkan": ("-DGGML_VULKAN=ON",),
    "hip": ("-DGGML_HIP=ON",),
    "metal": ("-DGGML_METAL=ON", "-DGGML_METAL_EMBED_LIBRARY=ON"),
}
"""The options of CMake by backend; all others are the same for all."""
NEEDED: Final[Mapping[str, tuple[tuple[str, ...], str]]] = {
    "cuda": (("nvcc",), "NVIDIA's CUDA toolkit"),
    "vulkan": (("glslc",), "the Vulkan SDK (Debian: libvulkan-dev glslc)"),
    "hip": (("hipcc", "amdclang++"), "AMD's ROCm SDK"),
}
"""By backend: programs of which it needs one, and the package that has them."""
QUICKER: Final = Path(__file__).with_name("native.cmake")
"""What makes the compile short; llama.cpp's CMakeLists.txt includes it."""
COMPILERS: Final = ("c++", "g++", "clang++")
JOB_BYTES: Final = 2**30  # memory of one compiler at most; 0.7 GiB was the most seen
ORIGIN: Final = "@loader_path" if sys.platform == "darwin" else "$ORIGIN"
ENDS_WITHIN_S: Final = 5.0
_STEP: Final = re.compile(r"^\[(\d+)/(\d+)\]")
_FAILURE: Final = re.compile(r"error:|Error|No space left|Killed|FAILED")
LAST_LINES: Final = 400

Progress = Callable[[int, int], None]


def options(version: str, backend: str) -> list[str]:
    """The options of CMake: for this processor, without parts that are fetched or not used."""
    return [
        "-DCMAKE_BUILD_TYPE=Release", "-DGGML_NATIVE=ON", "-DGGML_RPC=ON", "-DGGML_CCACHE=OFF",
        "-DLLAMA_BUILD_TESTS=OFF", "-DLLAMA_BUILD_EXAMPLES=OFF", "-DLLAMA_BUILD_APP=OFF",
        "-DLLAMA_BUILD_UI=OFF", "-DLLAMA_USE_PREBUILT_UI=OFF", "-DLLAMA_OPENSSL=OFF",
        "-DLLAMA_ALL_WARNINGS=OFF",
        "-DCMAKE_BUILD_WITH_INSTALL_RPATH=ON", f"-DCMAKE_INSTALL_RPATH={ORIGIN}",
        f"-DLLAMA_BUILD_NUMBER={version.rpartition('.')[2]}", f"-DLLAMA_BUILD_COMMIT={version}",
        *BACKENDS[backend],
    ]  # fmt: skip


def check_compilers(backend: str) -> None:
    """Raises MachineError if a compiler is missing. Called before anything is fetched."""
    if not os.environ.get("CXX") and not any(map(shutil.which, COMPILERS)):
        raise MachineError(
            "no C++ compiler was found (looked for {names}); install one, such as: sudo apt "
            "install g++",
            names=listed(("$CXX", *COMPILERS)),
        )
    if backend == "metal" and sys.platform != "darwin":
        raise MachineError("the backend metal needs a Mac; name another: `backend` cpu")
    programs, origin = NEEDED.get(backend, ((), ""))
    if programs and not any(map(shutil.which, programs)):
        raise MachineError(
            "the backend {backend} needs {programs}, which is not on the PATH; install {origin}, "
            "or: `backend` cpu",
            backend=backend,
            programs=" / ".join(programs),
            origin=origin,
        )


def compile_tree(
    source: Path, tree: Path, tools: tuple[Path, Path], configuration: list[str], progress: Progress
) -> Path:
    """Compile `source` in the folder `tree` and return the folder of its programs and libraries.

    Raises MachineError on a full disk and EngineRefused where the compile fails; its whole output
    lies in build.log.
    """
    cmake, ninja = map(str, tools)
    log = tree / "build.log"
    tree.mkdir(exist_ok=True)
    log.unlink(missing_ok=True)
    generator = [
        "-G",
        "Ninja",
        f"-DCMAKE_MAKE_PROGRAM={ninja}",
        f"-DCMAKE_PROJECT_llama.cpp_INCLUDE={QUICKER}",
    ]
    _run(
        [cmake, "-S", str(source), "-B", str(tree / "build"), *generator, *configuration],
        log,
        progress,
    )
    _run([ninja, "-C", str(tree / "build"), "-j", str(n_jobs()), *TARGETS], log, progress)
    return tree / "build" / "bin"


def n_jobs() -> int:
    """Compilers at once: one for each processor that this process may use, and no more than have
    memory.
    """
    return max(1, min(threads().allowed, psutil.virtual_memory().available // JOB_BYTES))


def _run(command: list[str], log: Path, progress: Progress) -> None:
    environment = {**os.environ, "LC_ALL": "C", "NINJA_STATUS": "[%f/%t] "}
    last: list[str] = []
    with (
        log.open("a", encoding="utf-8", buffering=1) as kept,
        subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env=environment,
            start_new_session=True,
        ) as process,
    ):
        assert process.stdout
        try:
            for line in process.stdout:
                kept.write(line)
                last = [*last[1 - LAST_LINES :], line.strip()]
                if step := _STEP.match(line):
                    progress(int(step[1]), int(step[2]))
        except BaseException:
            _end(process)
            raise
    if process.returncode:
        raise _failed(last, log)


def _end(process: "subprocess.Popen[str]") -> None:
    """End a compile with all its compilers: in order, so that ninja removes what is half-written,
    or by force.
    """
    for number in (signal.SIGINT, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=ENDS_WITHIN_S)
            return


def _failed(last: list[str], log: Path) -> EngineRefused | MachineError:
    if any("No space left on device" in line for line in last):
        return disk_error(OSError(28, "No space left on device"), log.parent)
    reason = next(
        (line for line in last if _FAILURE.search(line) and "FAILED" not in line),
        (last or ["-"])[-1],
    )
    return EngineRefused(
        "llama.cpp did not compile ({reason}); the whole output: {path}",
        reason=reason[:300],
        path=log,
    )
