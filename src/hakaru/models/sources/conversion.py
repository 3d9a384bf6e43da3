"""A Hugging Face checkpoint becomes a GGUF file by llama.cpp's own converter, where the person has it.

`convert_hf_to_gguf.py` needs torch and transformers, so hakaru does not bring it: it runs the one that the person names, as that
person would, or the one of the package convert-hf-to-gguf where that is installed (the extra `convert`). The file is written hidden beside the folder and takes its name when the converter ended well and the file
can be read; a file that is newer than the checkpoint is used again.
"""

import os
import shutil
import subprocess
import sys
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Final

from hakaru.errors import EngineRefused, Misuse
from hakaru.models.model import read_model
from hakaru.models.sources.found import Found

KEPT_LINES: Final = 20
PACKAGED: Final = "convert-hf-to-gguf"
"""The program of the package of the same name, which ships llama.cpp's converter."""


def installed_converter() -> Path | None:
    """The packaged converter: beside this Python, or on the PATH."""
    found = shutil.which(PACKAGED, path=str(Path(sys.executable).parent)) or shutil.which(PACKAGED)
    return Path(found) if found else None


def needs_conversion(reference: str) -> bool:
    """Whether `reference` is a folder with a Hugging Face checkpoint and no GGUF file."""
    folder = Path(reference).expanduser()
    return (folder / "config.json").is_file() and not any(folder.glob("*.gguf"))


def convert(reference: str, converter: Path, *, dry_run: bool = False, on_line: Callable[[str], None] = lambda line: None) -> Found:
    """The checkpoint in the folder `reference` as a GGUF file in its own type, beside the folder.

    `on_line` is given what the converter says. With `dry_run` only a file that is there already is taken. Raises Misuse for a folder or converter that is none, EngineRefused with the
    converter's last words, and what `read_model` raises.
    """
    folder = Path(reference).expanduser().absolute()
    if not (folder / "config.json").is_file():
        raise Misuse(
            "--converter: {path} is no Hugging Face folder with a config.json; leave --converter out for a GGUF file.", path=folder
        )
    if not converter.is_file():
        raise Misuse("--converter: {path} is no file; name llama.cpp's convert_hf_to_gguf.py.", path=converter)
    out = folder.with_name(f"{folder.name}.gguf")
    if not _is_newer(out, folder):
        if dry_run:
            raise Misuse("--dry-run changes nothing, and {folder} is not converted yet; leave --dry-run out once, or name the GGUF "
                         "file.", folder=folder)  # fmt: skip
        part = out.with_name(f".{out.name}.part")
        try:
            _run(converter, folder, part, on_line)
            read_model(part)
            part.replace(out)
        finally:
            part.unlink(missing_ok=True)
    return Found(path=out, origin=str(out), complete=True)


def _is_newer(out: Path, folder: Path) -> bool:
    return out.is_file() and all(out.stat().st_mtime > part.stat().st_mtime for part in folder.iterdir())


def _run(converter: Path, folder: Path, part: Path, on_line: Callable[[str], None]) -> None:
    """Run the converter: by itself where it is executable, since its first line may name its own Python, else by ours."""
    command = [str(converter)] if os.access(converter, os.X_OK) else [sys.executable, str(converter)]
    command += [str(folder), "--outfile", str(part), "--outtype", "auto"]
    said: deque[str] = deque(maxlen=KEPT_LINES)
    try:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
        )
    except OSError as error:
        raise Misuse("--converter: {path} cannot be run ({reason}).", path=converter, reason=error.strerror) from error
    with process:
        assert process.stdout
        try:
            for line in process.stdout:
                said.append(line.strip())
                on_line(line.rstrip())
        except BaseException:
            process.kill()
            raise
    if process.returncode or not part.is_file():
        raise EngineRefused(
            "the converter {path} failed on {folder}; its last words: {last}",
            path=converter, folder=folder, last=next((line for line in reversed(said) if line), "-"),
        )  # fmt: skip
