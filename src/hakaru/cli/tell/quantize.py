"""What `hakaru quantize` to a budget tells at the end, or beforehand."""

from collections.abc import Sequence
from typing import Final

from hakaru.cli.output import print_text, show_table
from hakaru.cli.table import Cell, Column, Table
from hakaru.cli.words import beside_others, change, verdict_sentence
from hakaru.cli.wrapping import whole
from hakaru.language import listed, say
from hakaru.quantization.made import Made, TensorRow
from hakaru.quantization.race import keeps_pins
from hakaru.quantization.solver import FILLED
from hakaru.quantization.source import source_kind
from hakaru.units import Figure, alike, bytes_told, common_unit, format_bytes

TOO_WIDE: Final = 30.0
"""An interval whose ends are further apart, as a ratio, is told without a number in it."""


def print_made(made: Made) -> None:
    """The tensors, then the sentences: one row per tensor of a plan, one per role and type of what
    was made.
    """
    if made.measured:
        show_table(roles_table(made))
    else:
        show_table(tensors_table(made.tensors))
    if made.plan.hidden:
        print_text(
            say(
                "The weights of this file lie on the grid of {types}: it was quantized before, "
                "whatever it says now. There these types look "
                "free, and would undo what was changed since, so they are no choice.",
                types=listed(made.plan.hidden),
            )
        )
    _print_copies(made)
    _print_devices(made)
    _print_predictions(made)
    if made.measured:
        _print_race(made)
    else:
        print_text(
            say(
                "Dry run: {path} would be written; nothing was changed.", path=whole(str(made.path))
            )
        )


def tensors_table(tensors: Sequence[TensorRow]) -> Table:
    """One row per tensor, and why it has its type."""
    columns = [
        Column(say("tensor"), left=True),
        Column(say("type"), left=True),
        Column(say("bits"), goes=3),
        Column(Cell(say("predicted damage"), say("damage")), shortens=(1,)),
        Column(say("why"), left=True, shortens=(2,), below=1),
    ]
    return Table(
        columns,
        [
            [
                row.name,
                row.type,
                f"{row.bpw:.2f}",
                "-" if row.damage is None else f"{row.damage:.6f}",
                _why(row),
            ]
            for row in tensors
        ],
    )


def _why(row: TensorRow) -> Cell:
    """Why a tensor has its type, in a few words or fewer."""
    words, few = {
        "kept": (say("is not quantized"),) * 2,
        "copied": (say("copied as it is"), say("copied")),
        "pinned": (say("pinned"),) * 2,
        "preset": (say("the preset's"),) * 2,
        "sensitive": (
            say("sensitive: {n:.1f} times the median", n=row.sensitivity or 0),
            say("sensitive ({n:.1f} ×)", n=row.sensitivity or 0),
        ),
        "robust": (
            say("robust: {n:.2f} times the median", n=row.sensitivity or 0),
            say("robust ({n:.2f} ×)", n=row.sensitivity or 0),
        ),
        "usual": (
            say("usual: {n:.1f} times the median", n=row.sensitivity or 0),
            say("usual ({n:.1f} ×)", n=row.sensitivity or 0),
        ),
    }[row.why]
    if row.blocks == 32 and row.why != "kept":
        return Cell(
            say("{why}; rows allow blocks of 32 only", why=words),
            say("{why}, blocks of 32", why=few),
        )
    return Cell(words, few)


def roles_table(made: Made) -> Table:
    """One row per role and type of what was made."""
    found = dict[tuple[str, str], list[TensorRow]]()
    elements = {t.name: t.n_elements for t in made.source.tensors}
    for row in made.tensors:
        if row.damage is not None:
            found.setdefault((role_of(row.name), row.type), []).append(row)
    rows = [
        [
            role,
            type_,
            str(len(each)),
            f"{sum(elements[r.name] for r in each):,}",
            f"{sum(r.damage or 0 for r in each):.5f}",
        ]
        for (role, type_), each in sorted(found.items())
    ]
    columns = [
        Column(say("tensors"), left=True),
        Column(say("type"), left=True),
        Column(say("number")),
        Column(say("weights")),
        Column(Cell(say("predicted damage"), say("damage")), shortens=(1,)),
    ]
    return Table(columns, rows)


def role_of(name: str) -> str:
    """The tensor's name without its layer."""
    return name.split(".", 2)[2] if name.startswith("blk.") else name


def _print_copies(made: Made) -> None:
    if made.copied:
        print_text(
            say(
                "{n} of {total} tensors are copied as they are ({bytes}), and lose nothing more.",
                n=len(made.copied),
                total=made.n_matrices,
                bytes=format_bytes(sum(row.n_bytes for row in made.copied)),
            )
        )
    if source_kind(made.source).kind == "quantized":
        print_text(
            say(
                "The loss is against this source, which is quantized already, and not against "
                "the original."
            )
        )


def _print_devices(made: Made) -> None:
    room = made.plan.target.room
    if room is None:
        return
    unit = common_unit(*made.device_bytes.values(), *room.device_bytes.values())
    rows = [
        [name, bytes_told(made.device_bytes[name], unit), bytes_told(n, unit)]
        for name, n in room.device_bytes.items()
    ]
    titles = (say("device"), say("weights"), say("room for weights"))
    show_table(Table([Column(title, left=i == 0) for i, title in enumerate(titles)], rows))


def _print_predictions(made: Made) -> None:
    plan = made.plan
    if plan.target.bpw:
        print_text(
            say(
                "{bpw:.3f} bits per weight of at most {budget} ({bytes}, {n:,} bytes); {loss}.",
                bpw=made.file_bpw,
                budget=plan.target.bpw,
                bytes=format_bytes(made.file_bytes),
                n=made.file_bytes,
                loss=_loss(made.predicted),
            )
        )
    else:
        size, budget = alike(made.file_bytes, plan.budget_bytes)
        print_text(
            say(
                "{bytes} of at most {budget} ({n:,} bytes); {loss}.",
                bytes=size,
                budget=budget,
                n=made.file_bytes,
                loss=_loss(made.predicted),
            )
        )
    if plan.target.file_bytes and made.file_bytes < FILLED * plan.budget_bytes:
        print_text(
            say(
                "The rest of the budget is left over: whatever would fill it is predicted to "
                "lose more."
            )
        )
    if not plan.is_measured:
        print_text(
            say(
                "Nothing of this model was measured yet, so types and loss are a guess from "
                "other models. Without --dry-run it is "
                "measured first; a dry run after that tells what is known."
            )
        )
    _print_speed(made)


def _print_speed(made: Made) -> None:
    goal = made.plan.target.speed
    if made.speed and goal and made.speed.source == "measured":
        print_text(
            say(
                "{n:.1f} [{low:.1f}…{high:.1f}] tokens per second, measured through the server "
                "(asked for: {wanted:.1f}).",
                n=made.speed.value,
                low=made.speed.lowest,
                high=made.speed.highest,
                wanted=goal.tokens_per_s,
            )
        )
    elif made.speed:
        print_text(
            say(
                "About {n:.1f} [{low:.1f}…{high:.1f}] tokens per second here, from what was "
                "timed on this machine.",
                n=made.speed.value,
                low=made.speed.lowest,
                high=made.speed.highest,
            )
        )
    elif not made.measured:
        print_text(
            say(
                "No speed is predicted: nothing was timed on this machine yet; `hakaru test` "
                "does it."
            )
        )


def _loss(predicted: Figure) -> str:
    """The predicted loss in words: a number with its interval, or only the interval where that is
    too wide for a number.
    """
    if predicted.highest > TOO_WIDE * predicted.lowest:
        return say(
            "its mean KLD is not known well enough to tell a number: between {low:.5f} and "
            "{high:.5f}, to 95%",
            low=predicted.lowest,
            high=predicted.highest,
        )
    return say(
        "predicted mean KLD {kld:.5f} [{low:.5f}…{high:.5f}]",
        kld=predicted.value,
        low=predicted.lowest,
        high=predicted.highest,
    )


def _print_race(made: Made) -> None:
    race = made.race
    if race and race.rival and race.ratio:
        print_text(
            say(
                "Best preset of at most these bytes: {preset}, {bytes}, mean KLD {kld:.5f}; ours "
                "{ours:.5f}: loses {change}.",
                preset=race.rival.recipe.preset,
                bytes=format_bytes(race.rival.file_bytes),
                kld=race.rival.kld.value,
                ours=race.ours.value,
                change=change(race.ratio),
            )
        )
    elif race:
        print_text(say("There is no preset of at most these bytes to race against."))
    if race and race.without_copies and race.without_copies_ratio:
        print_text(
            say(
                "Without copies the best mix of these bytes loses {kld:.5f}; against the preset: "
                "loses {change}.",
                kld=race.without_copies.value,
                change=change(race.without_copies_ratio),
            )
        )
        if race.wins and race.without_copies_ratio.highest >= 1:
            print_text(say("So the mix wins by what it copies."))
    elif race and race.without_copies:
        print_text(
            say(
                "Without copies the best mix of these bytes loses {kld:.5f}.",
                kld=race.without_copies.value,
            )
        )
    if race and race.wins and race.ratio and race.ratio.highest >= 1:
        kept = race.rival is None or keeps_pins(race.rival.recipe, made.plan.pins)
        print_text(
            say("The preset is not expected to keep the tier, so the mix was written.")
            if kept
            else say("The preset does not keep what was pinned, so the mix was written.")
        )
    if made.preset:
        print_text(say("The mix is not proven better, so the preset was written."))
    if made.others.matter:
        print_text(beside_others(made.others))
    if made.tested and made.plan.target.tier:
        print_text(verdict_sentence(made.tested, made.plan.target.tier))
    if made.measured:
        print_text(
            say(
                "{path}: written, read back and verified: llama.cpp loads it; measured mean KLD "
                "{kld:.5f} [{low:.5f}…{high:.5f}] on texts that no step had seen.",
                path=whole(str(made.path)),
                kld=made.measured.value,
                low=made.measured.low,
                high=made.measured.high,
            )
        )
