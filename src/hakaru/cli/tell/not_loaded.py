"""A model that was not loaded, since it does not fit: on stderr, in the words of `hakaru fit`."""

import sys
from contextlib import redirect_stdout

from hakaru.cli.next_steps import after_refusal
from hakaru.cli.output import next_step
from hakaru.cli.tell.fit import print_fit
from hakaru.errors import DoesNotFit
from hakaru.planning.to_load import NothingLoaded


def told(error: DoesNotFit) -> bool:
    """Tell the whole answer, and the next step; False where the error is a sentence of its own."""
    if not isinstance(error, NothingLoaded):
        return False
    with redirect_stdout(sys.stderr):
        print_fit(error.fit, [])
        next_step(after_refusal(error.fit))
    return True
