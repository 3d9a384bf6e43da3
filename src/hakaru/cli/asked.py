"""The session of commands that only ask: they answer on a full disk and in a home that is
read-only, too.
"""

import sys

from hakaru.hardware.machine import Machine
from hakaru.language import say
from hakaru.session import Session, Watch, nobody_watches


def session_that_asks(machine: Machine | None = None, watch: Watch = nobody_watches) -> Session:
    """A session whose ledger recalls everything. Where the ledger can keep nothing new, stderr says
    so; it is no error.
    """
    session = Session.here(machine=machine, watch=watch, keeps=False)
    if session.ledger.trouble:
        print(
            say("hakaru: nothing is remembered: {reason}", reason=session.ledger.trouble),
            file=sys.stderr,
        )
    return session
