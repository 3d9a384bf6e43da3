"""How long a budget took to meet here, and so how long the next one takes.

Nearly all of the time texts are read with the model at other types, so it grows with the model's
parameters. The ledger keeps the seconds of every order, over all its interruptions; of one model
only the longest counts, since what was measured once is not measured again for the next budget.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from math import log
from time import monotonic
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:  # `choose` asks for seconds, and loads none of this
    from hakaru.ledger import Ledger
    from hakaru.models.model import Model
    from hakaru.quantization.probes import Effort
    from hakaru.session import Session

KIND: Final = "budget met"
"""Of the ledger's rows."""


@contextmanager
def clocked(session: "Session", source: "Model", effort: "Effort", order: str) -> Iterator[None]:
    """Keep the seconds that the work takes, for the order of this digest."""
    ledger, begun, is_done = session.ledger, monotonic(), False
    inputs = {"machine": session.machine.fingerprint, "order": order}
    before = ledger.recall(KIND, inputs) or {"seconds": 0.0, "done": False}
    try:
        yield
        is_done = True
    finally:
        if not before["done"]:
            spent = {
                "seconds": before["seconds"] + monotonic() - begun, "done": is_done,
                "n_params": source.n_params, "model": source.layout_digest, "effort": effort,
            }  # fmt: skip
            ledger.remember(KIND, inputs, spent)


def seconds_for(
    n_params: int, ledger: "Ledger", machine: str, effort: "Effort" = "standard"
) -> float | None:
    """Seconds for a model of so many parameters: those of the model nearest in size for which a
    budget was met on this machine, in proportion. None: there was none.
    """
    longest: dict[str, tuple[int, float]] = {}
    for inputs, spent in ledger.recall_all(KIND):
        if inputs["machine"] == machine and spent["done"] and spent["effort"] == effort:
            size, seconds = longest.get(spent["model"], (spent["n_params"], 0.0))
            longest[spent["model"]] = size, max(seconds, spent["seconds"])
    if not longest:
        return None
    size, seconds = min(longest.values(), key=lambda row: abs(log(row[0] / n_params)))
    return seconds * n_params / size
