"""Opening a file without moving its access time.

The access time tells a person, and `hakaru ls`, when a model was last used. Looking at a header is
no use of the model.
"""

import os
from pathlib import Path
from typing import BinaryIO, Final

_WITHOUT_TIME: Final = getattr(os, "O_NOATIME", 0)  # Linux alone has it


def open_untouched(path: Path) -> BinaryIO:
    """The file at `path`, to be read. The access time stays where the system allows it: for one's
    own files.
    """
    return open(path, "rb", opener=_opened)


def _opened(name: str, flags: int) -> int:
    try:
        return os.open(name, flags | _WITHOUT_TIME)
    except PermissionError:
        return os.open(name, flags)
