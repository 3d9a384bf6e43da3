"""What llama.cpp itself says a projector (mmproj) takes: asked in a child process, from the header
alone.
"""

import json
import subprocess
from os import environ
from pathlib import Path
from typing import Final

from msgspec import Struct

from hakaru.engine.environment import CHILD_ENVIRONMENT
from hakaru.engine.process import child_command

WITHIN_S: Final = 60


class ProjectorBuffers(Struct, frozen=True, kw_only=True):
    """What a projector takes when it is loaded."""

    total_bytes: int  # weights and compute buffers
    image_max_tokens: int  # of the largest picture; -1: audio only


def projector_dry_run(path: Path) -> ProjectorBuffers | None:
    """The engine's figures; None if this build cannot be asked, refuses the file or dies."""
    command = child_command("hakaru.engine.projector_child", str(path))
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=WITHIN_S,
            check=False,
            env={**environ, **CHILD_ENVIRONMENT},
        )
    except subprocess.TimeoutExpired:
        return None
    line = done.stdout.strip().splitlines()[-1:] if done.returncode == 0 else []
    return ProjectorBuffers(**json.loads(line[0])) if line else None
