"""Write docs/which-model.md, its Japanese twin and their picture: what `hakaru choose` recommends
for twelve machines. With --check only say whether all are up to date.
"""

import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

from hakaru.cli.wrapping import wrapped
from hakaru.language import current_language, language_name, say, use_language
from hakaru.models.benchmarks import Task
from hakaru.models.catalogue import catalogue_date
from hakaru.pictures.choice_picture import choice_svg
from hakaru.selection.choose import choose
from hakaru.selection.chosen import Chosen
from hakaru.selection.contender import Contender
from hakaru.selection.told import memory_forms
from hakaru.selection.traffic import USUAL, reason
from hakaru.selection.why import why_recommended

DOCS: Final = Path(__file__).resolve().parent.parent / "docs"
LAPTOP: Final = "12GiB RAM"
MACHINES: Final[tuple[dict[str, str], ...]] = (
    {"hardware": LAPTOP},
    {"hardware": "RTX 3060 12GB + 32GiB RAM"},
    {"hardware": "RTX 4090 + 64GiB RAM"},
    {"hardware": "2x RTX 3090 + 64GiB RAM"},
    {"hardware": "L4"},
    {"hardware": "2x L4"},
    {"hardware": "A100 80GB"},
    {"hardware": "2x A100 80GB"},
    {"hardware": "H100"},
    {"hardware": "M2 16GB"},
    {"hardware": "M4 Max 64GB"},
    {"hardware": "Strix Halo 128GB"},
)
QUESTIONS: Final[tuple[tuple[Task, str], ...]] = (
    ("chat", "en"), ("chat", "ja"), ("code", "en"), ("code", "ja"), ("rag", "en"), ("vision", "en"),
)  # fmt: skip
"""Tasks and languages: the same in both pages."""


def main() -> None:
    """Write or compare."""
    for name in ("which-model.md", "which-model.ja.md"):
        use_language("ja" if ".ja." in name else "en")
        head, _, _ = (DOCS / name).read_text(encoding="utf-8").partition(BEGIN)
        keep(DOCS / name, f"{head}{BEGIN}{''.join(sections())}")
        keep(
            (DOCS / name).with_suffix(".svg"),
            choice_svg(choose(language=current_language(), hardware=DRAWN)),
        )


def keep(path: Path, text: str) -> None:
    """Write a file, or say that it is out of date."""
    if "--check" not in sys.argv:
        path.write_text(text, encoding="utf-8")
    elif path.read_text(encoding="utf-8") != text:
        raise SystemExit(f"docs/{path.name} is out of date: run python scripts/choices.py")


DRAWN: Final = "RTX 4090"
BEGIN: Final = "<!-- written by scripts/choices.py -->\n"


def sections() -> Iterator[str]:
    """One table for each task and language, with the task's shape above it."""
    yield f"\n{say('The catalogue is of {day}.', day=catalogue_date())}\n"
    for task, language in QUESTIONS:
        traffic = USUAL[task]
        numbers = (traffic.n_kept, traffic.n_prompt, traffic.n_answer)
        told = " + ".join(f"{n:,}" for n in numbers)
        shape = f"{told} {either('tokens', 'トークン')}"
        about = "\n".join(wrapped(f"{shape}: {reason(task)}", 100))
        yield f"\n## {task}{say(', ')}{language_name(language)}\n\n{about}\n\n"
        titles = (
            either("machine", "マシン"), say("model"), say("memory"), say("tokens/s"),
            say("first word"), say("score"), say("why"),
        )  # fmt: skip
        yield f"| {' | '.join(titles)} |\n|{'---|' * len(titles)}\n"
        for place in MACHINES:
            yield row(asked(task, language=language, **place))


asked = cache(choose)  # one answer, told in both languages


def either(english: str, japanese: str) -> str:
    """The text in the language of the page."""
    return japanese if current_language() == "ja" else english


def row(chosen: Chosen) -> str:
    """The recommended row of one machine."""
    first = chosen.recommended
    machine = chosen.hardware.text
    if machine == LAPTOP:
        machine = either("16 GB laptop (12 GiB free)", "16 GB のノート PC（空き 12 GiB）")
    if first is None:
        return f"| {machine} | - | | | | | |\n"
    cells = (
        machine,
        f"`{first.model.id}` {first.type}{_cache(first)}",
        memory_forms(first)[0],
        _speed(first),
        "?" if first.first_token_s is None else f"{first.first_token_s:.1f} s",
        f"{first.score.value:g}" if first.score else "-",
        why_recommended(chosen.search),
    )
    return f"| {' | '.join(cells)} |\n"


def _cache(contender: Contender) -> str:
    return "" if contender.cache == "f16" else f", KV {contender.cache}"


def _speed(contender: Contender) -> str:
    speed = contender.pace
    if speed is None:
        return "?"
    return f"{speed.value:.3g} ({speed.low:.3g}…{speed.high:.3g})"


if __name__ == "__main__":
    main()
