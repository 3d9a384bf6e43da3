"""Write the list of rooms in docs/architecture.md from the source; with --check only compare.

A room is a package under src/hakaru, or a module beside them. Its line in the list is the first
sentence of its docstring; the rooms that it imports are read from its files.
"""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

from between import write_between

ROOT: Final = Path(__file__).resolve().parent.parent
SOURCE: Final = ROOT / "src" / "hakaru"
PAGE: Final = ROOT / "docs" / "architecture.md"


def main() -> None:
    """Write or compare."""
    write_between(PAGE, "rooms", listed())


def listed() -> str:
    """The table of rooms, lowest floor first."""
    rows = ["| room | what it is for | imports |", "|---|---|---|"]
    for room in sorted(rooms(), key=lambda r: (floor(r), r)):
        imports = ", ".join(sorted(imported(room) - ground())) or "-"
        rows.append(f"| `{room}` | {purpose(room)} | {imports} |")
    return "\n".join(rows) + "\n"


@cache
def rooms() -> frozenset[str]:
    """Names of all rooms; the door (`__init__`) and the console script are none."""
    packages = {path.parent.name for path in SOURCE.glob("*/__init__.py")}
    return frozenset(packages | {path.stem for path in SOURCE.glob("[a-z]*.py")})


@cache
def ground() -> frozenset[str]:
    """Rooms that import no other room: everybody may import them, so they are not listed."""
    return frozenset(room for room in rooms() if not imported(room))


def purpose(room: str) -> str:
    """The first sentence of the room's docstring. Raises SystemExit if the room has none."""
    text = ast.get_docstring(ast.parse(_entrance(room).read_text(encoding="utf-8")))
    if not text:
        raise SystemExit(f"{_entrance(room)} has no docstring that says what the room is for.")
    return " ".join(text.split("\n\n")[0].split()).partition(". ")[0].removesuffix(".")


@cache
def imported(room: str) -> frozenset[str]:
    """The other rooms that the files of `room` import, also inside functions."""
    entrance = _entrance(room)
    files = entrance.parent.rglob("*.py") if entrance.name == "__init__.py" else [entrance]
    named = {
        name for file in files for name in _modules(ast.parse(file.read_text(encoding="utf-8")))
    }
    return frozenset(named & rooms() - {room})


def floor(room: str) -> int:
    """How many rooms lie below `room`, one above the other."""
    return 1 + max(
        (floor(below) for below in imported(room) if room not in imported(below)), default=-1
    )


def _entrance(room: str) -> Path:
    package = SOURCE / room / "__init__.py"
    return package if package.exists() else SOURCE / f"{room}.py"


def _modules(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            parts = name.split(".")
            if parts[0] == "hakaru" and len(parts) > 1:
                yield parts[1]


if __name__ == "__main__":
    main()
