"""What `hakaru catalog` says: its age, whose figures stand in it, what the Hub told."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from hakaru.cli.output import next_step, print_facts, print_text, show_table, warn
from hakaru.cli.paste import pasted
from hakaru.cli.table import Column, Table
from hakaru.cli.wrapping import whole
from hakaru.language import listed, say
from hakaru.models.licences import CLASSES, LicenceClass
from hakaru.models.own_catalogue import STALE_DAYS, Catalogue
from hakaru.models.scores import Board, all_boards
from hakaru.units import format_params

if TYPE_CHECKING:
    from hakaru.models.sources.catalogue_entry import Added
    from hakaru.models.sources.hub_catalogue import Change, Heard

MOST: Final = 8
"""Lines of a kind that are told; `--json` has all."""


def licence_class_name(name: LicenceClass) -> str:
    """A class of licences in words."""
    names = {
        "open": say("open"),
        "community": say("its makers' own terms"),
        "non-commercial": say("non-commercial"),
        "unknown": say("not known"),
    }
    return names[name]


def age_sentence(state: Catalogue) -> str:
    """How old the catalogue is, and if it is old, what brings it up to date."""
    days = state.days_old()
    if days > STALE_DAYS:
        return say(
            "The catalogue is of {day}, {n} days old; newer models are missing. Up to date with: "
            "{command}",
            day=state.day,
            n=days,
            command="hakaru catalog update",
        )
    return say("The catalogue is of {day}.", day=state.day)


def print_troubles(state: Catalogue) -> None:
    """The entries that were skipped, on stderr."""
    for trouble in state.skipped.values():
        warn(trouble)


def print_state(state: Catalogue, data: Mapping[str, object]) -> None:
    """The age, the kinds of licences, and the boards with their licences and makers."""
    licences = data["licences"]
    assert isinstance(licences, dict)
    hub = (
        say("{day}, of {n} models", day=state.updated, n=state.n_told)
        if state.updated
        else say("never asked")
    )
    print_facts(
        [
            (say("models"), say("{n}, of {day}", n=len(state.models), day=state.shipped)),
            *([(say("your own"), listed(state.added))] if state.added else []),
            (say("Hugging Face Hub"), hub),
            (
                say("licences"),
                listed([f"{licence_class_name(c)} {licences[c]}" for c in CLASSES if licences[c]]),
            ),
            (
                say("published scores"),
                say("of {n} models, from these boards", n=data["with_scores"]),
            ),
        ]
    )
    show_table(_boards(all_boards()))
    print_text(age_sentence(state))
    print_troubles(state)
    next_step("hakaru ls --catalog" if state.updated else "hakaru catalog update")


def _boards(boards: Sequence[Board]) -> Table:
    columns = [
        Column(say("board"), left=True),
        Column(say("date"), left=True),
        Column(say("licence"), left=True, goes=2),
        Column(say("by"), left=True, goes=1),
    ]
    return Table(columns, [[board.name, board.date, board.licence, board.by] for board in boards])


def print_update(heard: "Heard", changes: "Sequence[Change]") -> None:
    """What is other than before, what the Hub does not show, and what is new."""
    print_text(
        say("The Hub told of {n} models; {m} facts changed.", n=len(heard.facts), m=len(changes))
    )
    for change in _shortened([_change(change) for change in changes if _change(change)]):
        print_text(f"  {change}")
    if n := sum(change.field == "gguf_repos" for change in changes):
        print_text(say("The GGUF repositories of {n} models are other than before.", n=n))
    if heard.missing:
        print_text(
            say(
                "Not shown to you, because they moved, or are private: {names}.",
                names=listed(_shortened(heard.missing)),
            )
        )
    if heard.new:
        print_text(say("New from makers that hakaru knows, not in the catalogue yet:"))
        for repo in _shortened(heard.new):
            print_text(f"  {repo}")
        next_step(pasted("hakaru", "catalog", "add", f"hf:{heard.new[0]}"))
    else:
        next_step("hakaru ls --catalog")


def _change(change: "Change") -> str:
    """The change in words; empty for a list that is too long for them."""
    if change.field == "gated":
        if change.after:
            return say("{name}: its makers ask for consent before a download", name=change.id)
        return say("{name}: can be downloaded without consent", name=change.id)
    if change.field == "license":
        return say(
            "{name}: licence {after} (was {before})",
            name=change.id,
            after=change.after,
            before=change.before or say("not known"),
        )
    if change.field == "base_repo":
        return say("{name}: trained from {after}", name=change.id, after=change.after)
    return ""


def _shortened(lines: Sequence[str]) -> list[str]:
    more = len(lines) - MOST
    return [*lines[:MOST], *([say("… and {n} more", n=more)] if more > 0 else [])]


def print_added(added: "Added") -> None:
    """The entry, and what takes it out again."""
    model = added.model
    print_text(
        say(
            "{name} is in your catalogue: {architecture}, {n} parameters, read from {source}.",
            name=model.id,
            architecture=model.architecture,
            n=format_params(model.n_params),
            source=added.source,
        )
    )
    print_text(
        say("To take it out: {command}", command=whole(pasted("hakaru", "catalog", "rm", model.id)))
    )
    next_step(pasted("hakaru", "fit", model.id, "--type", "Q4_K_M"))
