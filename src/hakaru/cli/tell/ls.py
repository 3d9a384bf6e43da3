"""What `hakaru ls` says of the models on this disk."""

import re
import shlex
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from hakaru.cli.output import next_step, print_text, show_table
from hakaru.cli.paste import pasted
from hakaru.cli.table import Cell, Column, Table, bytes_cell
from hakaru.cli.wrapping import whole
from hakaru.errors import ModelDamaged, ModelNotFound
from hakaru.language import listed, say
from hakaru.memory.context import DEFAULT_CONTEXT
from hakaru.models.kinds import ADAPTER, CONTROL, DRAFT, IMAGES, IMATRIX, PROJECTOR, VOCABULARY
from hakaru.models.sources.model_folders import (
    FOLDER,
    HAKARU,
    HUGGING_FACE,
    LEDGER,
    LLAMA_CPP,
    LM_STUDIO,
    OLLAMA,
)
from hakaru.planning.at_hand import AtHand, Listed
from hakaru.planning.placed import Placed
from hakaru.units import common_unit, format_bytes

_STYLES: Final = {"fits": "green", "tight": "yellow", "does_not_fit": "red"}
_BARE: Final = re.compile(r"~?[\w@%+=:,./-]+", re.ASCII)
"""What a shell takes as it stands, with a tilde before it."""


def print_at_hand(found: AtHand) -> None:
    """The rows, what is broken, and what to type next."""
    if not found.models:
        _print_nothing(found)
        return
    show_table(disk_table(found.models))
    for model in found.models:
        if model.content.problem and not model.is_other and not model.content.role:
            print_text(str(model.content.problem))
    print_text(_sum(found.models))
    _print_unread(found)
    whole_ones = [model for model in found.models if model.is_whole]
    fitting = [m for m in whole_ones if m.fit and m.fit.placement.verdict == "fits"]
    if first := next(iter(fitting or whole_ones), None):
        next_step(f"hakaru fit {shown(first.name)}")
    else:
        next_step("hakaru ls --catalog")


def disk_table(models: Sequence[Listed]) -> Table:
    """One row for each; in a narrow terminal what is known stands below the name."""
    columns = [
        Column(say("name"), left=True, overhangs=True),
        Column(say("size"), below=1, shortens=(1,)),
        Column(say("type"), left=True, below=1),
        Column(say("last used"), left=True, below=1),
        Column(say("needs"), below=1, shortens=(1,)),
        Column(say("here"), left=True, below=1),
    ]
    sizes = [model.item.bytes for model in models if model.is_whole]
    unit = common_unit(*(sizes or [model.item.bytes for model in models]))
    return Table(columns, [_row(model, unit) for model in models])


def shown(name: str) -> str:
    """The name as it can be pasted: a path below the current folder or the home is shortened."""
    path = Path(name)
    if not path.is_absolute():
        return shlex.quote(name)
    if path.is_relative_to(Path.cwd()) and path != Path.cwd():
        text = str(path.relative_to(Path.cwd()))
        is_plain = not text.startswith("-") and ":" not in text.partition("/")[0]
        return shlex.quote(text if is_plain and _is_path(text) else f"./{text}")
    if path.is_relative_to(Path.home()) and path != Path.home():
        text = f"~/{path.relative_to(Path.home())}"
        return text if _BARE.fullmatch(text) else shlex.quote(text)
    return shlex.quote(name)


def _is_path(text: str) -> bool:
    """Whether the text is read as a path, though a name of the catalogue may be spelled so."""
    return "/" in text or text.lower().endswith(".gguf")


def _row(model: Listed, unit: str) -> list[str | Cell]:
    fit = model.fit
    return [
        shown(model.name),
        bytes_cell(model.item.bytes, unit),
        model.type or "-",
        _date(model.item.used_at),
        bytes_cell(fit.least_bytes if fit else None, unit),
        _state(model, fit),
    ]


def _state(model: Listed, fit: Placed | None) -> Cell:
    """Whether it fits, or what it is instead of a model that can be run."""
    if role := model.content.role:
        return Cell(role_name(role))
    if model.is_other:
        return Cell(say("not for llama.cpp"))
    if problem := model.content.problem:
        is_short = isinstance(problem, ModelDamaged | ModelNotFound)
        return Cell(say("damaged") if is_short else say("not readable"), style="red")
    if model.content.model and not model.content.model.complete:
        return Cell(say("only a header"))
    if fit is None:
        return Cell("?")
    verdict = fit.placement.verdict
    words = {"fits": say("fits"), "tight": say("tight"), "does_not_fit": say("too large")}
    return Cell(words[verdict], style=_STYLES[verdict])


def role_name(role: str) -> str:
    """What a file beside models is, in words."""
    return {
        PROJECTOR: say("projector"),
        ADAPTER: say("adapter"),
        IMATRIX: say("importance data"),
        CONTROL: say("control vector"),
        DRAFT: say("draft head"),
        VOCABULARY: say("vocabulary"),
        IMAGES: say("makes pictures"),
    }[role]


def _date(seconds: float | None) -> str:
    """The day of a moment, where this machine is."""
    with suppress(OverflowError, ValueError, OSError):  # a clock that was wrong by ages
        if seconds is not None:
            return f"{datetime.fromtimestamp(seconds, UTC).astimezone():%Y-%m-%d}"
    return "-"


def _sum(models: Sequence[Listed]) -> str:
    places = Counter(_place(model.item.program) for model in models)
    return say(
        "{n} in all, {size}: {places}. Whether one fits is computed, for {n_ctx:,} tokens of "
        "context and the memory that is free now.",
        n=len(models),
        n_ctx=DEFAULT_CONTEXT,
        size=format_bytes(sum(model.item.bytes for model in models)),
        places=listed(f"{place} {n}" for place, n in places.items()),
    )


def _place(program: str) -> str:
    return {
        HUGGING_FACE: "Hugging Face",
        OLLAMA: "Ollama",
        LM_STUDIO: "LM Studio",
        LLAMA_CPP: "llama.cpp",
        HAKARU: "hakaru",
        FOLDER: say("this folder"),
        LEDGER: say("elsewhere"),
    }[program]


def _print_unread(found: AtHand) -> None:
    for unread in found.unread:
        print_text(
            say(
                "{path}: not looked into ({reason}).",
                path=whole(shown(str(unread.path))),
                reason=unread.reason,
            )
        )


def _print_nothing(found: AtHand) -> None:
    """Where was looked, and how a model gets here."""
    print_text(say("No model was found. It looked in:"))
    for folder in found.folders:
        if folder.path.is_dir() or folder.program != OLLAMA:
            print_text(f"  {whole(shown(str(folder.path)))}")
    _print_unread(found)
    print_text(
        say(
            "A folder of your own: {folder}. The models that hakaru knows by name: {catalogue}. "
            "Whether one fits, before it is fetched: {fit}",
            folder=whole(pasted("hakaru", "ls", "FOLDER")),
            catalogue=whole("hakaru ls --catalog WORD"),
            fit=whole("hakaru fit NAME --type Q4_K_M"),
        )
    )
    next_step("hakaru ls --catalog")
