"""Write docs/architectures.md from the records; with --check only say whether it is up to date."""

import sys
import textwrap
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from hakaru.models.architectures import ARCHITECTURES, Architecture
from hakaru.models.architectures.record import Caches

TARGET: Final = Path(__file__).resolve().parent.parent / "docs" / "architectures.md"
HEAD: Final = """# Architectures

Written by `scripts/architectures.py` from the records in `src/hakaru/models/architectures`;
`make check` compares both. For an architecture that is not here hakaru computes nothing and says
so; [the engine's dry run answers](memory.md#an-architecture-without-arithmetic-of-ours).

- **tensors**: names and shapes of all of them, accepted by llama.cpp's loader.
- **keeps**: what its layers keep between tokens. Bytes are equal to the dry run's.
- **compute**: the buffers of its graph. On the processor equal to the dry run's to the byte.
- **checkpoint**: classes of Hugging Face (`architectures` in config.json) that hakaru reads.
"""
PARTS: Final = {
    "tensors": "tensors",
    "caches": "what it keeps",
    "graph": "compute",
    "hugging_face": "checkpoint",
}


def main() -> None:
    """Write or compare."""
    page = "\n".join([HEAD, *exact(), "", *missing(), "", *partly()]) + "\n"
    if "--check" not in sys.argv:
        TARGET.write_text(page, encoding="utf-8")
    elif not TARGET.exists() or TARGET.read_text(encoding="utf-8") != page:
        raise SystemExit(
            "docs/architectures.md is out of date: run python scripts/architectures.py"
        )


def exact() -> Iterator[str]:
    """One row for every architecture whose tensors are known."""
    records = [record for record in ARCHITECTURES.values() if record.tensors]
    n = {part: sum(has(record, part) for record in records) for part in PARTS}
    yield "## What is computed"
    yield (
        f"The tensors of {n['tensors']} architectures, of {n['caches']} what layers keep, of "
        f"{n['graph']} compute buffers;"
    )
    yield f"checkpoints of {n['hugging_face']}.\n"
    yield "| architecture | keeps | compute | checkpoint |"
    yield "|---|---|---|---|"
    for record in records:
        classes = record.hugging_face.classes if record.hugging_face else ()
        cells = (keeps(record.caches), "exact" if record.graph else "-", names(classes) or "-")
        yield f"| `{record.name}` | {' | '.join(cells)} |"


def missing() -> Iterator[str]:
    """Every part that such an architecture lacks, with the reason; equal reasons share a line."""
    yield "## What is missing, and why"
    reasons: dict[tuple[str, str], list[str]] = {}
    for record in ARCHITECTURES.values():
        for part in PARTS if record.tensors else ():
            if why := reason(record, part):
                reasons.setdefault((part, why), []).append(record.name)
    for (part, why), lacking in reasons.items():
        yield bullet(f"**{PARTS[part]}** of {names(lacking)}: {why}.")


def partly() -> Iterator[str]:
    """Architectures of which only a fact or two are known."""
    yield "## Known by a fact or two"
    yield "Their purpose, a rule of the quantizer, or what the records of a graph take."
    reasons: dict[str, list[str]] = {}
    for record in ARCHITECTURES.values():
        if not record.tensors:
            reasons.setdefault(record.why_no_tensors or "", []).append(record.name)
    for why, lacking in reasons.items():
        yield bullet(f"{names(lacking)}: {why}.")


def has(record: Architecture, part: str) -> bool:
    """Whether the part is known."""
    return getattr(record, part) is not None


def reason(record: Architecture, part: str) -> str | None:
    """Why the part is not known; None if it is."""
    why: str | None = getattr(record, f"why_no_{part}")
    return why


def keeps(caches: Caches | None) -> str:
    """What layers keep, in a few words."""
    if caches is None:
        return "-"
    words = {
        "attention": "keys and values",
        "nothing": "nothing",
        "state": "a state",
        "state without KV heads": "keys and values, or a state",
        "state by interval": "keys and values, or a state",
        "attention and state": "keys and values, and a state",
        "one part": "keys and values, a state, or nothing",
    }[caches.layers]
    return f"{words}; windows" if caches.window else words


def bullet(text: str) -> str:
    """An entry of a list, wrapped."""
    return textwrap.fill(
        text, 100, initial_indent="- ", subsequent_indent="  ", break_on_hyphens=False
    )


def names(of: Iterable[str]) -> str:
    """Names as code, with commas."""
    return ", ".join(f"`{name}`" for name in of)


if __name__ == "__main__":
    main()
