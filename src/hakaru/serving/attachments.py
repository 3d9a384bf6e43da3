"""Files that a person adds to a question: texts, and pictures for a model that sees."""

import base64
from pathlib import Path
from typing import Final

from hakaru.errors import Misuse, system_reason
from hakaru.text_files import text_of

MOST_TEXT: Final = 8 * 2**20
MOST_PICTURE: Final = 20 * 2**20  # in base64 a third more; the gateway takes 32 MiB
MAGIC: Final = {
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"GIF8": "image/gif",
    b"BM": "image/bmp",
}
"""How files of pictures begin that the engine reads. llama.cpp, vendor/stb/stb_image.h."""


def text_file(path: Path) -> str:
    """The text of a file, below its name. Raises Misuse for a file that is no text."""
    return f"{path.name}:\n```\n{text_of(path, _bytes(path, MOST_TEXT))}\n```"


def picture_file(path: Path) -> str:
    """The picture in a file, as a data URL. Raises Misuse for a file that is none."""
    raw = _bytes(path, MOST_PICTURE)
    kind = next((kind for magic, kind in MAGIC.items() if raw.startswith(magic)), None)
    if kind is None:
        raise Misuse(
            "{path}: is no picture that the engine reads; expected PNG, JPEG, GIF or BMP.",
            path=path,
        )
    return f"data:{kind};base64,{base64.b64encode(raw).decode()}"


def _bytes(path: Path, most: int) -> bytes:
    try:
        with path.open("rb") as file:
            raw = file.read(most + 1)
    except OSError as error:
        raise Misuse(
            "{path}: cannot be read ({reason}).", path=path, reason=system_reason(error)
        ) from error
    if len(raw) > most:
        raise Misuse("{path}: has more than {limit:,} bytes.", path=path, limit=most)
    return raw
