"""Sort the Japanese sentences by the room that says them; with --check only compare.

A sentence stands under the lowest room of whose files it is a text, and there in the order of the
English. `tests/test_language.py` holds that every sentence has its Japanese.
"""

import ast
import sys
import tomllib
from inspect import cleandoc
from typing import Final

from rooms import SOURCE, floor, rooms

CATALOGUE: Final = SOURCE / "messages_ja.toml"


def main() -> None:
    """Write or compare."""
    text = CATALOGUE.read_text(encoding="utf-8")
    written = by_room(text)
    if "--check" not in sys.argv:
        CATALOGUE.write_text(written, encoding="utf-8")
    elif text != written:
        raise SystemExit(f"{CATALOGUE.name} is not in order: run python scripts/messages.py")


def by_room(text: str) -> str:
    """The same entries under a heading for each room, lowest floor first."""
    entries = {tomllib.loads(entry)["message"][0]["en"]: entry for entry in _entries(text)}
    head, parts = text.partition("\n\n")[0], list[str]()
    for room in sorted(rooms(), key=lambda r: (floor(r), r)):
        here = sorted(entries.keys() & texts(room))
        if here:
            parts += [f"# {room}", *(entries.pop(english) for english in here)]
    return (
        "\n\n".join([head, *parts, *(["# said by nobody", *entries.values()] if entries else [])])
        + "\n"
    )


def _entries(text: str) -> list[str]:
    """Each entry as it is written, without the headings between them."""
    lines = "\n".join(line for line in text.splitlines() if not line.startswith("# "))
    return [f"[[message]]\n{entry.strip()}" for entry in lines.split("[[message]]\n")[1:]]


def texts(room: str) -> frozenset[str]:
    """Every text in the files of a room."""
    folder = SOURCE / room
    files = sorted(folder.rglob("*.py")) if folder.is_dir() else [SOURCE / f"{room}.py"]
    return frozenset(
        text
        for file in files
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
        for text in (node.value, cleandoc(node.value))  # a docstring is a command's help
    )


if __name__ == "__main__":
    main()
