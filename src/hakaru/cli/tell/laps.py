"""What `hakaru choose --race` tells: who runs and what that takes, what each racer did, and which
one to take.
"""

from hakaru.cli.output import interval_cell, print_text, show_table
from hakaru.cli.paste import pasted
from hakaru.cli.table import Cell, Column, Table, bytes_cell
from hakaru.cli.tell.tasks import doubts, right_cell, unended
from hakaru.cli.tell.two_ways import spoken_time
from hakaru.cli.words import CONTENDED, contention
from hakaru.cli.wrapping import whole
from hakaru.evaluation.duel import least_difference
from hakaru.evaluation.tasks import TaskSet
from hakaru.language import language_name, listed, say
from hakaru.selection.conditions import Conditions
from hakaru.selection.contender import Contender
from hakaru.selection.entrants import Entrant, Field, Out
from hakaru.selection.finish import Lap, Race, first_token_s, of_each_pair
from hakaru.selection.racers import would_help
from hakaru.selection.told import interval_text, speed_text
from hakaru.selection.why_won import untold, why_won
from hakaru.units import format_bytes


def print_field(field: Field, tasks: TaskSet, conditions: Conditions) -> None:
    """Who runs, on what, and what it takes, before anything is fetched."""
    for line in field_lines(field, tasks, conditions):
        print_text(line)


def field_lines(field: Field, tasks: TaskSet, conditions: Conditions) -> list[str]:
    """The same as sentences."""
    n = len(tasks.items)
    return [
        say("Race: {racers}.", racers=listed([_entrant(one) for one in field.entrants])),
        *(out_line(out) for out in field.out),
        say(
            "Tasks: {n} ({names}, {language}). So many can tell racers apart that differ by "
            "{least:.0%} of the tasks or more.",
            n=n,
            names=listed([name.rpartition("/")[2] for name in tasks.names]),
            language=language_name(tasks.language),
            least=least_difference(n, error_rate=of_each_pair(len(field.entrants))),
        ),
        *_more_tasks(tasks, conditions),
        _download(field),
        _duration(field, conditions),
    ]


def _entrant(entrant: Entrant) -> str:
    asked = entrant.row.type
    if entrant.type == asked:
        return entrant.label
    return say("{label} (no {type} is published)", label=entrant.label, type=asked)


def _more_tasks(tasks: TaskSet, conditions: Conditions) -> list[str]:
    name = would_help(conditions.task, tasks.items)
    if name is None:
        return []
    return [say("More tasks of this kind: {option} {name}.", option="`tasks`", name=name)]


def _download(field: Field) -> str:
    missing = [one for one in field.entrants if one.missing_bytes]
    downloads = [one.download for one in missing if one.download]
    if not downloads:
        return say("Download: nothing, all are on this disk.")
    seconds = field.fetch_s
    return say(
        "Download: {bytes} ({each}); {free} are free on the disk. Time: {time}.",
        bytes=format_bytes(field.missing_bytes),
        each=listed(
            [
                say("{name} {bytes}", name=one.row.model.id, bytes=format_bytes(one.missing_bytes))
                for one in missing
            ]
        ),
        free=format_bytes(downloads[0].free_bytes),
        time=say("not known, as nothing was fetched from there yet")
        if seconds is None
        else say("about {time} at the speed of the last time", time=spoken_time(seconds)),
    )


def _duration(field: Field, conditions: Conditions) -> str:
    seconds = field.race_s(conditions.traffic)
    if seconds is None:
        return say(
            "Race: how long it takes is known when the first racer was timed; before that where "
            "{command} has timed this machine.",
            command=whole("hakaru bench --calibrate"),
        )
    return say(
        "Race: at most {time} of timing and answering, by the low ends of the predicted speeds; "
        "what is in the ledger is not asked again.",
        time=spoken_time(seconds),
    )


def out_line(out: Out) -> str:
    """That a row does not run, and why."""
    return say(
        "{model} {type} does not run: {reason}", model=out.model, type=out.type, reason=out.reason
    )


def lap_line(lap: Lap) -> str:
    """What one racer did, when it has ended."""
    told = say(
        "{racer}: {right} of {n} tasks solved, {speed:.1f} tokens/s.",
        racer=lap.entrant.label,
        right=lap.n_right,
        n=lap.n,
        speed=lap.decode.value,
    )
    if not lap.stopped:
        return told
    return say("{told} It was not asked the others: it is surely the worse one.", told=told)


def print_race(race: Race) -> None:
    """The table of the racers, and the one to take with its reason."""
    if race.winner is None:
        print_text(no_race_line(race))
        return
    show_table(laps_table(race))
    for line in race_lines(race):
        print_text(line)


def no_race_line(race: Race) -> str:
    """Why there was no race."""
    if not race.laps:
        return say("There was no race: fewer than two rows can be fetched and run here.")
    return say(
        "There was no race: {racer} alone could be measured.", racer=race.laps[0].entrant.label
    )


def laps_table(race: Race) -> Table:
    """A row for each racer: what it solved, and each speed as measured beside as predicted."""
    columns = [
        Column(say("model"), left=True),
        Column(say("type"), left=True),
        Column(say("solved")),
        Column(say("share"), shortens=(5,)),
        Column(Cell(say("tokens/s"), say("t/s")), below=1, shortens=(3,)),
        Column(say("predicted"), below=1, shortens=(2,)),
        Column(Cell(say("first word"), say("first")), below=1, shortens=(2,)),
        Column(say("predicted"), below=1, goes=4),
        Column(say("download"), below=1, shortens=(1,)),
        Column("", left=True),
    ]
    return Table(columns, [_row(lap, race) for lap in race.laps])


def _row(lap: Lap, race: Race) -> list[str | Cell]:
    row, n_prompt = lap.row, race.conditions.traffic.n_prompt
    mark = CONTENDED if lap.speed.is_contended else ""
    return [
        row.model.id,
        lap.entrant.type,
        say("{right} of {n}", right=lap.n_right, n=lap.n),
        right_cell(lap.graded),
        interval_cell(lap.decode, ".1f", mark=mark),
        _predicted(row),
        f"{first_token_s(lap.speed, n_prompt):.1f} s",
        "?" if row.first_token_s is None else f"{row.first_token_s:.1f} s",
        bytes_cell(lap.bytes, "GiB"),
        say("recommended") if lap is race.winner else say("stopped early") if lap.stopped else "",
    ]


def _predicted(row: Contender) -> Cell:
    value, interval = speed_text(row.pace), interval_text(row.pace)
    return Cell(f"{value} [{interval}]" if interval else value, value)


def race_lines(race: Race) -> list[str]:
    """What the table does not say."""
    winner, lines = race.winner, list[str]()
    assert winner
    depth = race.conditions.traffic.depth
    if any(lap.deep is None for lap in race.laps):
        lines.append(
            say(
                "Tokens/s are predicted behind {depth:,} tokens; a racer whose context, or half a "
                "minute of reading, does not go so far was measured behind none.",
                depth=depth,
            )
        )
    lines += contention(lap.speed for lap in race.laps)
    for lap in race.laps:
        lines += unended(lap.graded, lap.row.model.id)
    lines += doubts(*(lap.graded for lap in race.laps if not lap.stopped))
    lines.append(
        say(
            "Recommended by what was measured here: {model} {type}: {why}.",
            model=winner.row.model.id,
            type=winner.entrant.type,
            why=why_won(race),
        )
    )
    if (least := untold(race)) is not None:
        lines.append(
            say(
                "Racers that differ by less than {least:.0%} of the tasks cannot be told apart by "
                "so few; more tasks: {command}",
                least=least,
                command=whole("hakaru tasks new"),
            )
        )
    return [*lines, *_left_on_disk(race)]


def _left_on_disk(race: Race) -> list[str]:
    """That the others stay on the disk, and how they go."""
    others = [lap for lap in race.laps if lap is not race.winner]
    return [
        say(
            "{racer} stays on this disk ({bytes}); it goes by: {command}",
            racer=lap.entrant.label,
            bytes=format_bytes(lap.bytes),
            command=whole(pasted("hakaru", "rm", lap.path)),
        )
        for lap in others
    ]
