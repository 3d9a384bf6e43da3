"""The ledger for commands that only ask: they answer on a full disk and in a home that is read-only, too."""

import sys
from collections.abc import Callable

from hakaru.language import say
from hakaru.tuning.ledger import Ledger


def ledger_that_is_asked(watch: Callable[[str, int, int], None] = lambda step, done, total: None) -> Ledger:
    """The ledger, from which everything is recalled; that nothing new can be kept is said on stderr, and is no error."""
    ledger = Ledger(watch=watch, keeps=False)
    if ledger.trouble:
        print(say("hakaru: nothing is remembered: {reason}", reason=ledger.trouble), file=sys.stderr)
    return ledger
