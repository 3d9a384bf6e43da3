"""`hakaru conform`: what a server with an OpenAI-style API does wrong."""

from dataclasses import dataclass

from hakaru.cli.output import next_step, print_json
from hakaru.cli.paste import pasted
from hakaru.cli.progress import Watching
from hakaru.cli.tell.conform import print_conformance
from hakaru.cli.terminal import terminal_session
from hakaru.conformance.conform import conform
from hakaru.language import say
from hakaru.signals import INTERRUPTED

FAILED = 1
UNTOLD = 7
"""Nothing failed, but of some checks it cannot be told."""


@dataclass(frozen=True, kw_only=True)
class ConformOptions:
    """`hakaru conform`."""

    url: str
    key: str | None
    model: str | None
    timeout: float
    only: tuple[str, ...]
    json: bool


def run(options: ConformOptions) -> int:
    """Ask the server, and tell. Returns 1 if a check failed, 7 if none did but of some it cannot be
    told, and 130 if Ctrl-C ended the run.
    """
    with Watching() as watch:
        found = conform(
            options.url,
            key=options.key,
            model=options.model,
            timeout_s=options.timeout,
            only=options.only,
            session=terminal_session(watching=watch, quiet=options.json, keeps=False),
        )
    if options.json:
        print_json(found.as_json())
    else:
        print_conformance(found)
        if found.is_whole:
            next_step(
                pasted("hakaru", "conform", options.url, "--json"),
                before=say("Every request and every answer, whole:"),
            )
    if not found.is_whole:
        return INTERRUPTED
    if found.counts["fail"]:
        return FAILED
    return UNTOLD if found.counts["unknown"] else 0
