"""A Hugging Face checkpoint becomes a GGUF file, by llama.cpp's own converter.

The converter `convert_hf_to_gguf.py` needs torch and transformers, so it does not come with hakaru:
hakaru runs the script that a person names, as that person would, or an installed program
`convert-hf-to-gguf`. The GGUF file lies in the data directory under a hash of the names, sizes and
times of the checkpoint's files. So the file is used again until the checkpoint changes, and no file
of a person is ever taken for it or replaced.
"""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from hakaru import trust
from hakaru.errors import EngineRefused, Misuse, system_reason
from hakaru.models.model import read_model
from hakaru.models.sources.choice import choices, roles_of_files
from hakaru.models.sources.found import Found
from hakaru.places import data_dir, one_at_a_time, written_whole

KEPT_LINES: Final = 20
PROGRAM: Final = "convert-hf-to-gguf"


def installed_converter() -> Path | None:
    """An installed converter: beside this Python, or on the PATH."""
    beside = str(Path(sys.executable).parent)
    program = shutil.which(PROGRAM, path=beside) or shutil.which(PROGRAM)
    return Path(program) if program else None


def needs_conversion(reference: str) -> bool:
    """True if `reference` is a folder with a Hugging Face checkpoint and without a model as GGUF.
    An imatrix beside the checkpoint is no model.
    """
    folder = Path(reference).expanduser()
    # os.path.isfile raises nothing where the name is impossible, or the folder closed
    if not os.path.isfile(folder / "config.json"):
        return False
    ggufs = {path.name: path for path in folder.glob("*.gguf") if path.is_file()}
    return not choices(dict.fromkeys(ggufs), roles_of_files(ggufs))


def convert(
    reference: str,
    converter: Path,
    *,
    dry_run: bool = False,
    on_line: Callable[[str], None] = lambda line: None,
) -> Found:
    """The checkpoint in the folder `reference` as a GGUF file in its own type.

    `on_line` gets every line that the converter prints. With `dry_run` nothing is converted, only
    an earlier file is taken. Raises Misuse (no checkpoint, no converter, nothing to take),
    EngineRefused with the converter's last words, and what `read_model` raises.
    """
    folder = Path(reference).expanduser().resolve()
    if not (folder / "config.json").is_file():
        raise Misuse(
            "`converter`: {path} is no Hugging Face folder with a config.json; leave `converter` "
            "out for a GGUF file.",
            path=folder,
        )
    if not converter.is_file():
        raise Misuse(
            "`converter`: {path} is no file; name llama.cpp's convert_hf_to_gguf.py.",
            path=converter,
        )
    key = _identity(folder)
    out = data_dir("converted", key) / f"{folder.name}.gguf"
    with one_at_a_time(f"convert-{key}"):
        if not out.is_file():
            if dry_run:
                raise Misuse(
                    "`dry_run` changes nothing, and {folder} is not converted yet; leave "
                    "`dry_run` out once, or name the GGUF file.",
                    folder=folder,
                )
            trust.let_go([out])
            with written_whole(out) as part:
                _run(converter, folder, part, on_line)
                read_model(part)
    return Found(path=out, origin=str(folder), complete=True)


def _identity(folder: Path) -> str:
    """A hash that changes when any file of the checkpoint changes."""
    parts = [
        (file.name, file.stat().st_size, file.stat().st_mtime_ns)
        for file in sorted(folder.iterdir())
        if file.is_file()
    ]
    return hashlib.sha256(json.dumps([str(folder), parts]).encode()).hexdigest()[:16]


def _run(converter: Path, folder: Path, part: Path, on_line: Callable[[str], None]) -> None:
    """Run the converter: as a program if it is executable, since its first line may name another
    Python, else with the Python of hakaru. When hakaru ends, the converter ends with all that it
    started.
    """
    command = (
        [str(converter)] if os.access(converter, os.X_OK) else [sys.executable, str(converter)]
    )
    command += [str(folder), "--outfile", str(part), "--outtype", "auto"]
    lines: deque[str] = deque(maxlen=KEPT_LINES)
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
    except OSError as error:
        raise Misuse(
            "`converter`: {path} cannot be run ({reason}).",
            path=converter,
            reason=system_reason(error),
        ) from error
    with process:
        assert process.stdout
        try:
            for line in process.stdout:
                lines.append(line.strip())
                if "%|" not in line:  # a bar that is drawn again and again
                    on_line(line.rstrip())
        except BaseException:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            raise
    if process.returncode or not part.is_file():
        last = next((line for line in reversed(lines) if line), "-")
        if "No module named" in last:
            raise EngineRefused(
                "the converter {path} needs a Python with torch and transformers ({last}); name "
                "that Python in the first line of the script, and make it executable.",
                path=converter,
                last=last,
            )
        raise EngineRefused(
            "the converter {path} failed on {folder}; its last words: {last}",
            path=converter,
            folder=folder,
            last=last,
        )
