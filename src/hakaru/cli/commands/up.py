"""`hakaru up`: look at the machine, check, quantize, test, decide, serve."""

from hakaru.cli.commands.serve import stay
from hakaru.cli.deciding import decide
from hakaru.cli.options import UpOptions
from hakaru.cli.output import print_json
from hakaru.cli.tell.tune import print_decision
from hakaru.cli.terminal import terminal_session
from hakaru.models.model import read_model
from hakaru.serving.serve_at import Pages, serve_at


def run(options: UpOptions, *, pages: Pages | None) -> int:
    """Decide, and serve what was chosen. Returns 1 if nothing meets every constraint."""
    decision = decide(options, serves=not options.no_serve)
    if options.json:
        print_json(decision.as_json())
    else:
        print_decision(decision)
    if decision.path is None:
        return 1
    if options.no_serve:
        return 0
    serving = serve_at(
        read_model(decision.path),
        decision.served,
        decision.mode,
        terminal_session(aside=True, keeps=False),
        port=options.port,
        memory=options.memory,
        pages=pages,
        warns_of_idle_gpu=False,  # the decision said it
    )
    return stay(serving, quiet=options.json)
