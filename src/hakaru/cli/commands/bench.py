"""`hakaru bench`: how fast a model is here beside what was predicted, or how fast this machine
is.
"""

from dataclasses import dataclass

from hakaru.cli.output import next_step, print_json
from hakaru.cli.paste import pasted
from hakaru.cli.progress import Watching
from hakaru.cli.tell.bench import print_benched, print_calibrated
from hakaru.cli.terminal import terminal_session
from hakaru.errors import Misuse
from hakaru.evaluation.bench import bench
from hakaru.evaluation.calibrating import calibrate


@dataclass(frozen=True, kw_only=True)
class BenchOptions:
    """`hakaru bench`."""

    model: str | None  # None: the machine is timed
    depth: int
    calibrate: bool
    json: bool


def run(options: BenchOptions) -> int:
    """Time a model, or calibrate the predictions for this machine."""
    if options.calibrate == (options.model is not None):
        raise Misuse("name a model to time it, or give `calibrate` alone to time this machine.")
    with Watching(quiet=options.json) as watch:
        session = terminal_session(watching=watch, quiet=options.json)
        if options.model is None:
            calibrated = calibrate(session)
        else:
            benched = bench(options.model, depth=options.depth, session=session)
    if options.model is None:
        if options.json:
            print_json(calibrated.as_json())
        else:
            print_calibrated(calibrated)
            next_step("hakaru ls --catalog")
        return 0
    if options.json:
        print_json(benched.as_json())
    else:
        print_benched(benched)
        next_step(pasted("hakaru", "serve", benched.model.path))
    return 0
