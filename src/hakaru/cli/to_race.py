"""`hakaru choose --race`: the best rows against each other on this machine."""

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import click
from msgspec.structs import replace

from hakaru.cli.next_steps import again
from hakaru.cli.output import next_step, print_json, print_text
from hakaru.cli.paste import pasted
from hakaru.cli.progress import Watching
from hakaru.cli.tell.laps import lap_line, out_line, print_field, print_race
from hakaru.cli.terminal import terminal_session
from hakaru.errors import Misuse
from hakaru.evaluation.tasks import TaskSet
from hakaru.language import say
from hakaru.selection.chosen import Chosen
from hakaru.selection.entrants import Field, Out
from hakaru.selection.finish import Lap, Race
from hakaru.selection.racers import check_task, of_one_model
from hakaru.selection.racing import race
from hakaru.selection.solved import solved_here
from hakaru.selection.why_won import why_won
from hakaru.session import Session
from hakaru.units import size_in_bytes

if TYPE_CHECKING:
    from hakaru.cli.commands.choose import ChooseOptions


def check_race(options: "ChooseOptions") -> None:
    """Raises Misuse for a race that is none of this machine's, or of models."""
    for name, value in (("hardware", options.hardware), ("for_hardware", options.for_hardware)):
        if value is not None:
            raise Misuse(
                "`race` measures on this machine, and `{name}` names another; leave one of them "
                "out.",
                name=name,
            )
    if options.model is not None:
        raise of_one_model(options.model)
    check_task(options.task)  # type: ignore[arg-type]  # another text is refused by `choose`


def run_race(
    options: "ChooseOptions", choose: Callable[[Session], Chosen], tell: Callable[[Chosen], None]
) -> int:
    """Choose, tell the rows, and race the best of them. Returns 3 if there is no row, and 1 if
    there was no race.
    """
    with Watching(quiet=options.json) as watch:
        session = terminal_session(watching=watch, quiet=options.json, keeps=False)
        chosen = choose(session)
        if not options.json:
            tell(chosen)
        if not chosen.rows:
            if options.json:
                print_json(chosen.as_json() | {"race": None})
            return 3

        def agree(field: Field, tasks: TaskSet) -> bool:
            watch.close()
            if not options.json:
                print_field(field, tasks, chosen.conditions)
            return options.yes or not field.missing_bytes or _agreed(options)

        def told(news: Lap | Out) -> None:
            watch.close()
            print_text(lap_line(news) if isinstance(news, Lap) else out_line(news))

        found = race(
            chosen,
            tasks=options.tasks,
            memory=size_in_bytes(options.memory) if options.memory else None,
            ray=options.ray,
            agree=agree,
            tell=(lambda news: None) if options.json else told,
            session=session,
        )
    return _told(options, chosen, found, session)


def _agreed(options: "ChooseOptions") -> bool:
    """Whether the person says yes. Raises Misuse where nobody can be asked."""
    if options.json or not sys.stdin.isatty():
        raise Misuse(
            "nothing was fetched, since nobody can be asked; to fetch and race: {command}",
            command=f"{again()} --yes",
        )
    return click.confirm(say("Fetch them, and race?"), default=True, err=True)


def _told(options: "ChooseOptions", chosen: Chosen, found: Race | None, session: Session) -> int:
    if options.json:
        print_json(raced_json(chosen, found, session))
    elif found is None:
        print_text(say("Nothing was fetched, and nothing raced."))
    else:
        print_race(found)
        if winner := found.winner:
            next_step(pasted("hakaru", "up", f"{winner.row.model.id}:{winner.entrant.type}"))
    return 0 if found and found.winner else 1


def raced_json(chosen: Chosen, found: Race | None, session: Session) -> dict[str, object]:
    """The object of `choose --json`, in which the winner is recommended, with what was measured
    among the evidence of each row.
    """
    conditions = chosen.conditions
    solved = solved_here(session.ledger, conditions.task, conditions.language)
    data = replace(chosen, solved=solved).as_json()
    winner = found.winner if found else None
    rows = data["rows"]
    assert isinstance(rows, list)
    return data | {
        "recommended": rows[chosen.rows.index(winner.row)] if winner else data["recommended"],
        "race": found.as_json(why_won(found)) if found else None,
    }
