"""What the operating system tells about the machine: one value in a file of sysfs or procfs, or one
name of macOS's `sysctl`.

Nothing here raises: a value that cannot be read is None. The modules of the engine's child
processes import this one: it needs nothing but the standard library.
"""

import platform
import subprocess
from contextlib import suppress
from pathlib import Path


def read_text(path: Path) -> str | None:
    """The text of a file without the space around it; None if the file is absent or empty."""
    with suppress(OSError):
        return path.read_text(errors="replace").strip("\0 \t\r\n") or None
    return None


def read_integer(path: Path) -> int | None:
    """The number in a file; None if the file holds anything else, such as `max` or `-1`."""
    text = read_text(path)
    return int(text) if text and text.isdigit() else None


def sysctl(name: str) -> str | None:
    """A value of macOS; None elsewhere."""
    if platform.system() != "Darwin":
        return None
    with suppress(OSError, subprocess.SubprocessError):
        return subprocess.run(
            ["sysctl", "-n", name], capture_output=True, text=True, timeout=2, check=True
        ).stdout.strip()
    return None
