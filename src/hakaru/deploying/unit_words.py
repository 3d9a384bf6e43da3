"""Words of a command line as systemd reads them in a unit. Pure. Sources: systemd.service(5),
systemd.syntax(7).
"""

import re
from typing import Final

_PLAIN: Final = re.compile(r"[\w@+=:,./-]+")
_CONTROL: Final = re.compile(r"[\x01-\x1f\x7f]")


def literal(text: str) -> str:
    """Text in a unit, where `%` and `$` mean something, inside quotes too."""
    return text.replace("%", "%%").replace("$", "$$")


def quoted(word: str) -> str:
    """A word of a command line in a unit."""
    escaped = literal(word)
    if _PLAIN.fullmatch(word):
        return escaped
    escaped = escaped.replace("\\", "\\\\").replace('"', '\\"')
    escaped = _CONTROL.sub(lambda control: f"\\x{ord(control[0]):02x}", escaped)
    return f'"{escaped}"'
