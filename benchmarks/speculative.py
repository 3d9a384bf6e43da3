"""What guessing tokens ahead gains on this machine, and whether the rule of `tune --speculative`
takes it.

`python benchmarks/speculative.py [MODEL] [--draft FILE] [--rounds N] [--texts KIND] [--by MEANS]`
serves the model (without a name: the embedded one) alone and in every way in turns, each round
backwards to the one before, and asks for two kinds of requests: those of `tune`, and texts that the
answer mostly repeats. Ways are the text so far with 4, 8 and 16 tokens at once, a draft that is the
model itself quantized as far as it goes, and the model itself as its own draft: it is always right,
and as slow as the model. A row tells how many guesses were right, the gain in whole answers with
its 95% interval over the requests, and what the rule says. Beside other work the gain is marked and
the rule takes nothing.
"""

import argparse
import os
import platform
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from msgspec.structs import replace

from hakaru.choosing.speculated import Tried, compared
from hakaru.engine.builds import server_build
from hakaru.engine.lab import Lab
from hakaru.engine.mode import Mode
from hakaru.engine.speculation import Speculation
from hakaru.evaluation.acceptance import Lap, lap
from hakaru.evaluation.served import planned
from hakaru.evaluation.work_prompts import WORK_PROMPTS, WorkPrompt
from hakaru.hardware.probe import probe_machine
from hakaru.hardware.threads import n_threads
from hakaru.memory.context import settings_for
from hakaru.memory.settings import ContextSettings
from hakaru.models.embedded import embedded_model
from hakaru.models.model import Model, read_model
from hakaru.quantization.build import build, plan_presets
from hakaru.session import Session

SMALLEST: Final = "Q2_K"
N_CTX: Final = 1024
LENGTHS: Final = (4, 8, 16)
_NOTE: Final = (
    "The workshop opens at nine. Bring your own gloves, a pencil and a ruler. Wood and glue are "
    "there. Lunch is at noon in the yard behind the hall. The workshop closes at five, and the "
    "tools go back to the shelf. Nobody leaves before the floor is clean."
)
_LIST: Final = "\n".join(f"{name}: 12 boxes, shelf {i}" for i, name in enumerate(
    ("apples", "pears", "plums", "cherries", "grapes", "lemons", "melons", "figs"), start=1
))  # fmt: skip
_CODE: Final = (
    "def area(width, height):\n    return width * height\n\n\n"
    "def volume(width, height, depth):\n    return area(width, height) * depth\n"
)
REPEATING: Final = tuple(
    WorkPrompt("summary", f"{task}\n\n{text}")
    for task, text in (
        ("Repeat this text word for word:", _NOTE),
        ("Copy this list line by line:", _LIST),
        ("Write this code again, without any change:", _CODE),
        ("Repeat the text, but write ten instead of nine:", _NOTE),
        ("Copy the list, but write 20 instead of 12:", _LIST),
        ("Write the code again with long instead of height:", _CODE),
    )
)
"""Requests whose answer stands in the prompt, all of it or but for a word. Written for hakaru."""
TEXTS: Final = {"tune": WORK_PROMPTS["en"], "repeating": REPEATING}
"""Both kinds of requests."""


def ways(own: Path, small: Path | None, lengths: Sequence[int]) -> list[Speculation]:
    """Every way to guess that is measured; `lengths` are those of the text so far."""
    texts = [Speculation(means="ngram", n_max=n) for n in lengths]
    files = (small, own) if small else ()
    return [*texts, *(Speculation(means="draft", n_max=4, draft=file) for file in files)]


def measured(
    session: Session,
    model: Model,
    settings: ContextSettings,
    ways: Sequence[Speculation],
    prompts: Sequence[WorkPrompt],
    rounds: int,
) -> Iterator[Tried]:
    """What each way gains. The model alone is measured in every round, in turns with the ways."""
    laps: dict[Speculation | None, list[Lap]] = {None: [], **{way: [] for way in ways}}
    for i in range(rounds):
        for way in list(laps)[:: -1 if i % 2 else 1]:
            mode = Mode(speculation=way)
            laps[way].append(lap(session, model, settings, mode, prompts, lambda done: None))
    for way in ways:
        extra = planned(session, model, settings, Mode(speculation=way)).extras[0]
        memory = extra.bytes
        yield compared(way, laps[None], laps[way], memory_bytes=memory, draft_sha256=None)


def name_of(way: Speculation, own: Path) -> str:
    """What guesses, and how many tokens at once."""
    if way.draft is None:
        return f"text so far, {way.n_max}"
    return f"{'itself' if way.draft == own else way.draft.stem}, {way.n_max}"


def row(texts: str, one: Tried, own: Path) -> str:
    """A line of the table."""
    gain, right = one.gain, f"{one.acceptance:.0%}" if one.acceptance is not None else "-"
    is_faster = replace(one, contended=False).pays
    verdict = "not taken" if not is_faster else "would be taken" if one.contended else "taken"
    return (
        f"| {texts} | {name_of(one.way, own)} | {right} | {one.plain_tokens_per_s.value:.1f} "
        f"| {one.tokens_per_s.value:.1f} | {gain.value:.2f} ({gain.lowest:.2f} to "
        f"{gain.highest:.2f}){'‡' if one.contended else ''} | {verdict} |"
    )


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model", nargs="?", type=Path)
    parser.add_argument("--draft", type=Path, help="instead of the model at its smallest")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument(
        "--texts", choices=TEXTS, action="append", help="one kind of requests alone"
    )
    parser.add_argument("--by", choices=("ngram", "draft"), nargs="+", default=("ngram", "draft"))
    parser.add_argument(
        "--at-once", type=int, nargs="+", default=LENGTHS, help="of the text so far"
    )
    options = parser.parse_args()
    session, own = Session.here(), options.model or embedded_model()
    model = read_model(own)
    settings = settings_for(model, n_ctx=N_CTX)
    print(f"{platform.platform()}, {probe_machine().cpu.model}, {n_threads()} threads")
    print(f"{server_build()}; {own.name}; load {os.getloadavg()[0]:.1f}")
    print("| texts | guesses by, at once | right | alone | with it | gain | rule |")
    print("|---|---|---|---|---|---|---|")
    with TemporaryDirectory() as folder:
        small = options.draft
        if small is None and "draft" in options.by:
            (recipe,) = plan_presets(model, [SMALLEST])
            small = build(Lab(), model, recipe, Path(folder) / f"{SMALLEST}.gguf").path
        for texts in options.texts or TEXTS:
            chosen = [way for way in ways(own, small, options.at_once) if way.means in options.by]
            for one in measured(session, model, settings, chosen, TEXTS[texts], options.rounds):
                print(row(texts, one, own), flush=True)
    print(f"load at the end {os.getloadavg()[0]:.1f}; ‡ beside other work")


if __name__ == "__main__":
    main()
