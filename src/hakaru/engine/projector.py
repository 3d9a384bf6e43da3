"""What llama.cpp itself says a projector (mmproj) takes: asked in a child process, from the header
alone.
"""

import json
import subprocess
from dataclasses import dataclass
from os import environ
from pathlib import Path
from typing import Final

from hakaru.engine.process import CHILD_ENVIRONMENT, child_command

WITHIN_S: Final = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectorBuffers:
    """Bytes of weights and of what is computed with at start, and the tokens of the largest picture
    (-1: audio only).
    """

    total_bytes: int
    image_max_tokens: int


def projector_dry_run(path: Path) -> ProjectorBuffers | None:
    """The engine's figures; None where this build cannot be asked, refuses the file or dies over
    it.
    """
    command = child_command("hakaru.engine.projector_child", str(path))
    try:
        found = subprocess.run(
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
    line = found.stdout.strip().splitlines()[-1:] if found.returncode == 0 else []
    return ProjectorBuffers(**json.loads(line[0])) if line else None
