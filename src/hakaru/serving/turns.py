"""The turns of a conversation, as the OpenAI API writes them, and the file that keeps them."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from hakaru.errors import Misuse, system_reason
from hakaru.places import written_whole

Turn = dict[str, Any]
"""One turn: a role, and a content that is a text or a list of parts."""
ROLES: Final = frozenset({"system", "user", "assistant"})
MOST_BYTES: Final = 64 * 2**20


def question(text: str, pictures: Sequence[str] = ()) -> Turn:
    """What a person asks, about `pictures`, which are data URLs. A terminal may send any bytes."""
    readable = text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    if not pictures:
        return {"role": "user", "content": readable}
    shown = [{"type": "image_url", "image_url": {"url": url}} for url in pictures]
    return {"role": "user", "content": [*shown, {"type": "text", "text": readable}]}


def text_of_turn(turn: Turn) -> str:
    """The text of a turn, without its pictures."""
    content = turn["content"]
    if isinstance(content, str):
        return content
    return "\n".join(part["text"] for part in content if part.get("type") == "text")


def n_letters(turns: Sequence[Turn]) -> int:
    """Letters of all turns; a picture counts as none."""
    return sum(len(text_of_turn(turn)) for turn in turns)


def without_oldest(turns: Sequence[Turn]) -> list[Turn]:
    """The turns from the second question on; all of them where there is only one question."""
    later = next((i for i, t in enumerate(turns[1:], start=1) if t["role"] == "user"), 0)
    return list(turns[later:])


def save(path: Path, turns: Sequence[Turn], system: str | None) -> None:
    """Write a conversation to `path`, whole or not at all. Raises MachineError."""
    opening = [{"role": "system", "content": system}] if system else []
    text = json.dumps({"messages": [*opening, *turns]}, ensure_ascii=False, indent=1)
    with written_whole(path) as part:
        part.write_text(text + "\n", encoding="utf-8")


def load(path: Path) -> tuple[list[Turn], str | None]:
    """The turns and the instruction of a conversation that `save` wrote. Raises Misuse for another
    file.
    """
    try:
        with path.open("rb") as file:
            messages = json.loads(file.read(MOST_BYTES))["messages"]
    except OSError as error:
        raise Misuse(
            "{path}: cannot be read ({reason}).", path=path, reason=system_reason(error)
        ) from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise _no_conversation(path) from error
    if not isinstance(messages, list) or not all(map(_is_turn, messages)):
        raise _no_conversation(path)
    system = next((str(m["content"]) for m in messages if m["role"] == "system"), None)
    return [m for m in messages if m["role"] != "system"], system


def _is_turn(message: object) -> bool:
    if not isinstance(message, dict) or message.get("role") not in ROLES:
        return False
    content = message.get("content")
    return isinstance(content, str) or (
        isinstance(content, list) and all(isinstance(part, dict) for part in content)
    )


def _no_conversation(path: Path) -> Misuse:
    return Misuse(
        "{path}: is no conversation; expected a file that /save wrote, with a list of messages.",
        path=path,
    )
