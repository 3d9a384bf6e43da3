"""`hakaru up`: look at the machine, check, quantize, test, decide, serve."""

from hakaru.cli.commands.serve import serve
from hakaru.cli.deciding import decide
from hakaru.cli.options import UpOptions
from hakaru.cli.output import print_json
from hakaru.cli.tell.tune import print_decision
from hakaru.models.model import read_model
from hakaru.serving.deployment import Pages


def run(options: UpOptions, *, pages: Pages | None) -> int:
    """Decide, and serve what was chosen. Returns 1 if nothing meets every constraint."""
    decided = decide(options, "up", serves=not options.no_serve)
    decision = decided.decision
    if options.json:
        print_json(decision.as_json())
    else:
        print_decision(decision)
    if decision.chosen is None or decision.chosen.path is None:
        return 1
    if options.no_serve:
        return 0
    return serve(
        read_model(decision.chosen.path),
        decision.served,
        options.port,
        pages,
        memory=options.memory,
        mode=decided.mode,
        session=decided.session,
        quiet=options.json,
        decided=True,
    )
