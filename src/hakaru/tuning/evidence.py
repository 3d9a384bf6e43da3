"""Evidence: a decision as a file, with everything that is needed to check it, and the way back to the last one."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from hakaru.places import data_dir, written_whole


def save_evidence(name: str, evidence: Mapping[str, object]) -> Path:
    """Write `evidence` and return its path, which is also noted in it."""
    folder = data_dir("evidence")
    now = datetime.now(UTC)
    path = folder / f"{now:%Y%m%dT%H%M%S.%f}Z-{name}.json"
    content = {**evidence, "evidence": str(path), "at": now.isoformat(timespec="seconds")}
    with written_whole(path) as part:
        part.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def last_choice() -> Path | None:
    """The model file that the latest decision chose, if it is still there."""
    for path in sorted(data_dir("evidence").glob("*.json"), reverse=True):
        try:
            chosen = json.loads(path.read_text(encoding="utf-8"))["chosen"]
        except (OSError, ValueError, KeyError):
            continue
        if chosen and Path(chosen["path"]).is_file():
            return Path(chosen["path"])
    return None
