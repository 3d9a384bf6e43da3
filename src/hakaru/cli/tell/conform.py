"""What `hakaru conform` tells: a row for each area, then each fault with what was asked, what was
expected and what came.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

from hakaru.cli.output import print_facts, print_text, show_table
from hakaru.cli.table import Cell, Column, Table
from hakaru.conformance.verdicts import Conformance, Result, Severity, Verdict
from hakaru.language import listed, say

ORDER: Final[tuple[Severity, ...]] = ("severe", "moderate", "minor")
LONGEST: Final = 40
"""Letters of a text in a request that are shown; `--json` has more of them."""
ROOM: Final = 280
"""Letters of a request that are shown."""


def print_conformance(found: Conformance) -> None:
    """The server, the areas, the faults from the worst on, what nobody can tell, and the sum."""
    print_text(_server(found))
    if found.results:
        show_table(areas_table(found))
    for result in sorted(found.of("fail"), key=lambda result: ORDER.index(result.severity)):
        kind = severity_word(result.severity)
        print_text(say("✗ {name} ({severity})", name=result.check.name, severity=kind))
        print_facts(_fault(result, found.model))
    for result in found.of("unknown"):
        print_text(
            say(
                "? {name}: cannot tell; {reason}.",
                name=result.check.name,
                reason=result.outcome.reason,
            )
        )
    for sentence in _skipped(found.of("skipped")):
        print_text(sentence)
    print_text(_sum(found))


def _server(found: Conformance) -> str:
    if found.n_ctx is None:
        return say("{url}, model {model}", url=found.url, model=found.model)
    return say(
        "{url}, model {model}, {n_ctx:,} tokens of context",
        url=found.url,
        model=found.model,
        n_ctx=found.n_ctx,
    )


def areas_table(found: Conformance) -> Table:
    """How many checks of each area have each verdict."""
    names = {verdict: verdict_word(verdict) for verdict in found.counts}
    columns = [Column(say("checks of"), left=True)]
    columns += [Column(name) for name in names.values()]
    times = Counter((result.check.area, result.outcome.verdict) for result in found.results)
    areas = dict.fromkeys(result.check.area for result in found.results)
    rows: list[list[str | Cell]] = [
        [area, *(_count(times[area, verdict], verdict) for verdict in names)] for area in areas
    ]
    return Table(columns, rows)


def _count(n: int, verdict: Verdict) -> Cell:
    return Cell(str(n), style="red" if n and verdict == "fail" else "")


def verdict_word(verdict: Verdict) -> str:
    """A verdict in a word or two."""
    return {
        "pass": say("passed"),
        "fail": say("failed"),
        "unknown": say("cannot tell"),
        "skipped": say("skipped"),
    }[verdict]


def severity_word(severity: Severity) -> str:
    """How bad a fault is, in a word."""
    return {"severe": say("severe"), "moderate": say("moderate"), "minor": say("minor")}[severity]


def _fault(result: Result, model: str) -> list[list[str]]:
    """What was expected, found and asked."""
    rows = [
        [f"  {say('expected')}", result.check.expected],
        [f"  {say('found')}", result.outcome.reason],
    ]
    if result.asked:
        rows.append([f"  {say('asked')}", request_text(result.asked[-1], model)])
    return rows


def request_text(asked: Mapping[str, Any], model: str) -> str:
    """A request in one line, without `model`, which is the same in nearly all of them, and with
    long texts cut.
    """
    body = asked["body"]
    try:
        value = json.loads(body or "")
    except ValueError:
        shown = body or ""
    else:
        if isinstance(value, dict) and value.get("model") == model:
            del value["model"]
        shown = json.dumps(_shortened(value), ensure_ascii=False)
    if len(shown) > ROOM:
        shown = f"{shown[: ROOM - 1]}…"
    return f"{asked['method']} {asked['path']} {shown}".strip()


def _shortened(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _shortened(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_shortened(inner) for inner in value]
    return _short(value) if isinstance(value, str) else value


def _short(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def _skipped(results: Sequence[Result]) -> list[str]:
    """One sentence for each reason."""
    reasons = Counter(result.outcome.reason for result in results)
    return [
        say("- skipped: {reason} (checks: {n}).", reason=reason, n=n)
        for reason, n in reasons.items()
    ]


def _number(n: int, kind: str) -> str:
    return say("{n} {kind}", n=n, kind=kind)


def _sum(found: Conformance) -> str:
    counts = found.counts
    told = [_number(counts[verdict], verdict_word(verdict)) for verdict in counts]
    times = Counter(result.severity for result in found.of("fail"))
    if times:
        kinds = listed(_number(times[s], severity_word(s)) for s in ORDER if times[s])
        told[1] = say("{failed} ({kinds})", failed=told[1], kinds=kinds)
    text = say("{counts}, in {s:.0f} s.", counts=listed(told), s=found.seconds)
    if found.is_whole:
        return text
    return say(
        "Ended early, after {n} of {total} checks: {text}",
        n=len(found.results),
        total=found.n_checks,
        text=text,
    )
