"""How fast files came over the network, by the server that sent them."""

from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

if TYPE_CHECKING:  # `choose` asks for a speed, and loads none of this
    from hakaru.ledger import Ledger

KIND: Final = "download"
"""Of the ledger's rows."""


def remember_speed(ledger: "Ledger", url: str, bytes_per_s: float) -> None:
    """Keep the speed of a download from the server of this address, in place of an older one."""
    from hakaru.ledger import now

    ledger.remember(KIND, {"host": _host(url)}, {"bytes_per_s": bytes_per_s, "at": now()})


def speed_from(ledger: "Ledger", url: str) -> float | None:
    """Bytes per second with which files of this server came the last time; None: they never did."""
    last = ledger.recall(KIND, {"host": _host(url)})
    return float(last["bytes_per_s"]) if last else None


def last_speed(ledger: "Ledger") -> float | None:
    """The same of the server from which something came last."""
    rows = [speed for _, speed in ledger.recall_all(KIND)]
    return float(max(rows, key=lambda row: row["at"])["bytes_per_s"]) if rows else None


def _host(url: str) -> str:
    return urlsplit(url).netloc.rpartition("@")[2]
