"""`hakaru tune`: the loop that decides, without serving; and an old decision walked again."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hakaru.choosing.replay import replay
from hakaru.choosing.tune import effort_beside_servers
from hakaru.cli.deciding import decide
from hakaru.cli.options import WishOptions
from hakaru.cli.output import next_step, print_json
from hakaru.cli.progress import Watching
from hakaru.cli.tell.tune import print_decision, print_replay, save_decision_report
from hakaru.cli.tell.ways_on import after_replay, next_command
from hakaru.cli.terminal import terminal_session
from hakaru.errors import Misuse
from hakaru.pictures.page_file import check_report
from hakaru.pictures.save import check_picture
from hakaru.servers import beside_servers


@dataclass(frozen=True, kw_only=True)
class TuneOptions(WishOptions):
    """`hakaru tune`."""

    speculative: bool
    draft: str | None
    replay_file: Path | None
    report: Path | None
    plot: Path | None


BESIDE_REPLAY: Final = ("--replay", "--json")


def run(options: TuneOptions, given: Collection[str] = ()) -> int:
    """Decide. `given` are the options that the person wrote.

    Returns 1 if nothing meets every constraint, or if an old decision does not hold.
    """
    if options.replay_file is not None:
        return _again(options.replay_file, options, given)
    if options.plot:
        check_picture(options.plot)
    if options.report:
        check_report(options.report)
    decision = decide(options, serves=False, speculative=options.speculative, draft=options.draft)
    if options.plot:
        from hakaru.pictures.pareto import save_pareto_picture

        save_pareto_picture(decision, options.plot)
    if options.report:
        save_decision_report(decision, options.report)
    if options.json:
        print_json(decision.as_json())
    else:
        print_decision(decision)
        if step := next_command(decision):
            next_step(step)
    return 1 if decision.path is None else 0


def _again(evidence: Path, options: TuneOptions, given: Collection[str]) -> int:
    for option in given:
        if option.startswith("--") and option not in BESIDE_REPLAY:
            raise Misuse(
                "{option} goes with a model, not with --replay, which takes everything from the "
                "evidence; leave it out.",
                option=option,
            )
    if options.model:
        raise Misuse(
            "--replay takes its model from the evidence; leave {model} out.", model=options.model
        )
    with Watching(quiet=options.json) as watch:
        session = terminal_session(watching=watch, quiet=options.json)
        replayed = replay(
            evidence, session, effort_beside_servers(), again=True, beside=beside_servers
        )
    if options.json:
        print_json(replayed.as_json())
    else:
        print_replay(replayed)
        next_step(after_replay(replayed))
    return 0 if replayed.holds else 1
