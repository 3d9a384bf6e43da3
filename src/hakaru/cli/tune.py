"""`hakaru tune`: the loop that decides, without serving; and an old decision walked again."""

from collections.abc import Collection
from pathlib import Path
from typing import Any, Final

from hakaru.cli import up
from hakaru.cli.decision import print_decision
from hakaru.cli.output import Watching, print_json, print_text
from hakaru.errors import Misuse
from hakaru.language import say
from hakaru.serving.deployment import beside_servers
from hakaru.session import Session
from hakaru.tuning.bench import Bench
from hakaru.tuning.decide import SOURCE
from hakaru.tuning.replay import Replay, replay

BESIDE_REPLAY: Final = ("--replay", "--json")
LONGEST_CONDITION: Final = 60


def run(*, model: str | None, replay_file: Path | None, json: bool, given: Collection[str] = (), **options: Any) -> int:
    """Decide. `given` are the options that the person wrote. Returns 1 if nothing meets every constraint, or if an old decision does not hold."""
    if replay_file is None:
        return up.run(model=model, json=json, port=None, no_serve=True, pages=None, **options)
    for option in given:
        if option.startswith("--") and option not in BESIDE_REPLAY:
            raise Misuse(
                "{option} goes with a model, not with --replay, which takes everything from the evidence; leave it out.",
                option=option,
            )
    if model:
        raise Misuse("--replay takes its model from the evidence; leave {model} out.", model=model)
    with Watching(quiet=json) as watch:
        found = replay(
            replay_file,
            Bench(Session.here(watch=watch), again=True),
            up.effort_beside_servers(),
            beside=beside_servers,
        )
    if json:
        print_json(found.as_json())
    else:
        _print(found)
    return 0 if found.holds else 1


def _print(found: Replay) -> None:
    print_decision(found.decision)
    for what, then, now in found.changed:
        print_text(say("Changed since then: {what} was {then}, is {now}.", what=what, then=_short(then), now=_short(now)))
    if found.holds:
        print_text(say("The decision holds: {type}.", type=_spoken(found.now)))
    else:
        print_text(
            say(
                "The decision does not hold: it was {before}, it is {now}.",
                before=_spoken(found.before),
                now=_spoken(found.now),
            )
        )


def _spoken(label: str | None) -> str:
    """The name of a candidate in evidence, in the language in use."""
    if label is None:
        return say("nothing")
    type_, _, cache = label.partition(", KV cache ")
    name = say("source") if type_ == SOURCE else type_
    return say("{type}, KV cache {cache}", type=name, cache=cache) if cache else name


def _short(value: object) -> str:
    """A condition as it is printed: of a digest the beginning."""
    text = say("not recorded") if value is None else str(value)
    return text if len(text) <= LONGEST_CONDITION else f"{text[:LONGEST_CONDITION]}…"
