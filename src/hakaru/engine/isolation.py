"""An engine that can tell nobody anything: its server runs under bubblewrap, in an empty network
namespace. It sees its own program, the model's files (read-only) and one folder, for its socket.

The parent reaches the engine over that socket alone. Between both stand two small processes of
bubblewrap's: the parent's child, and the first process of the namespace.

GPUs: builds that are not for the processor alone also see the GPUs' device files and /sys. This
part is written from the documentation of CUDA, ROCm and Vulkan and was never run, since no GPU was
at hand.
"""

import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from glob import glob
from pathlib import Path
from typing import Final

import psutil
from msgspec import Struct

import hakaru
from hakaru.engine.bubblewrap import ALONE, program, python_and_libraries, why_no_bubblewrap
from hakaru.engine.build_id import LIBRARIES
from hakaru.engine.builds import Build
from hakaru.engine.capi import wheel_library
from hakaru.errors import MachineError
from hakaru.formats.split import part_names
from hakaru.language import say

GPU_NODES: Final = ("/dev/nvidia*", "/dev/dri", "/dev/kfd", "/dev/dxg")
GPU_FOLDERS: Final = ("/sys", "/opt/rocm", "/etc/vulkan", "/etc/OpenCL", "/run/opengl-driver")
PROCESSES: Final = ("--proc", "/proc")
"""The program's own: it finds the libraries beside itself by /proc/self/exe."""
NO_FILES: Final = 'ulimit -f 0; exec "$@"'
"""A file that the program writes, in the folder of its socket, ends it. Drivers of GPUs may write
in the memory that they share (/dev/shm).
"""
_LIBRARY: Final = re.compile(r" => (/(?!usr/|lib).*) \(0x")


class Cell(Struct, frozen=True, kw_only=True):
    """What an isolated program may see."""

    readable: tuple[Path, ...]  # files and folders
    writable: Path  # one folder, for the socket
    has_gpus: bool = False

    def around(self, command: Sequence[str]) -> list[str]:
        """The command that runs `command` in here."""
        folders = [*python_and_libraries(), "/bin", "/usr"]
        nodes = gpu_nodes() if self.has_gpus else []
        if nodes:
            folders += GPU_FOLDERS
        words = [word for path in sorted(folders) for word in ("--ro-bind-try", path, path)]
        for path in self.readable:
            words += ["--ro-bind", str(path), str(path)]
        if nodes:
            words += ["--dev", "/dev"]
            words += [word for node in nodes for word in ("--dev-bind", node, node)]
        words += ["--bind", str(self.writable), str(self.writable), "--remount-ro", "/"]
        limited = [] if nodes else [shutil.which("sh") or "/bin/sh", "-c", NO_FILES, "sh"]
        return [program(), *ALONE, *PROCESSES, *words, "--chdir", "/", "--", *limited, *command]


def cell_of(build: Build, model: Path, more: Iterable[Path], *, folder: Path) -> Cell:
    """What the server of `build` may see: itself, all parts of `model` and the files `more`."""
    program_files = _files_of(build.server) if build.server else _folders_of_wheel()
    parts = [model.with_name(name) for name in part_names(model.name)]
    return Cell(
        readable=(*program_files, *(path.absolute() for path in (*parts, *more))),
        writable=folder,
        has_gpus=build.backend != "cpu",
    )


def gpu_nodes() -> list[str]:
    """The device files of the GPUs here."""
    return sorted(node for pattern in GPU_NODES for node in glob(pattern))


def engine_below(pid: int) -> int:
    """The number of the engine below the bubblewrap that runs as `pid`; `pid` where there is none
    yet, or no more.
    """
    with suppress(psutil.Error):
        if below := psutil.Process(pid).children(recursive=True):
            return below[-1].pid
    return pid


def signal_told(code: int | None) -> int | None:
    """What ended the program, by the exit code of bubblewrap, which says 137 for signal 9: -9."""
    return 128 - code if code and code > 128 else code


def is_private(wanted: bool | None, *, note: Callable[[str], None]) -> bool:
    """Whether engines are isolated: as `wanted`, or where None wherever the system allows it;
    `note` hears where it does not. Raises MachineError where it is wanted and cannot be had.
    """
    if wanted is False:
        return False
    reason = why_no_bubblewrap(*PROCESSES)
    if reason and wanted:
        raise MachineError(
            "the engine cannot be isolated here: {reason}; mend that, or leave `private` out to "
            "run the engine as every other program.",
            reason=reason,
        )
    if reason:
        note(
            say(
                "The engine is not isolated here ({reason}): it could reach the network and your "
                "files.",
                reason=reason,
            )
        )
    return reason is None


def _folders_of_wheel() -> list[Path]:
    """Where Python finds this package and the wheel of the engine."""
    library = wheel_library()
    environments = {Path(sys.prefix), library.parent.parent} - {Path("/"), Path("/usr")}
    return [*sorted(environments), Path(hakaru.__file__).parent]


def _files_of(server: Path) -> list[Path]:
    """A `llama-server`, with the libraries beside it and those that it names elsewhere; nothing
    else of its folder, which may be somebody's home.
    """
    folder = server.resolve().parent
    beside = [path for path in folder.iterdir() if any(end in path.name for end in LIBRARIES)]
    elsewhere = [Path(name) for name in _LIBRARY.findall(_ldd(server))]
    return [*dict.fromkeys((server.absolute(), server.resolve(), *sorted(beside), *elsewhere))]


def _ldd(server: Path) -> str:
    """What the system's loader tells of the libraries of a program; nothing where it is silent."""
    with suppress(OSError, subprocess.TimeoutExpired):
        return subprocess.run(
            ["ldd", str(server)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, text=True, errors="replace", timeout=5, check=False,
        ).stdout  # fmt: skip
    return ""
