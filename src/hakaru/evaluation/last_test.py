"""The last test of a file, as the ledger keeps it: what was lost, and what it proves of a tier.

The windows of a test are remembered, too (see `losses`), but only together with the reference and
the texts. Whoever has the file alone, such as a server, asks here.
"""

from typing import Any, Final

from msgspec import Struct

from hakaru.evaluation.losses import Tested
from hakaru.evaluation.tiers import Verdict
from hakaru.ledger import Ledger, now
from hakaru.memory.settings import Cache
from hakaru.units import Figure

KIND: Final = "last test"


class Loss(Struct, frozen=True, kw_only=True):
    """What a file was found to lose, with its verdict."""

    at: str  # the moment, in ISO 8601
    tier: str  # the tier that was judged
    verdict: Verdict | None  # None: nothing was judged
    kld_mean: Figure
    top1_agreement: Figure
    n_windows: int  # that were read; 0 for the file that is the reference itself
    reference: str | None  # the name of the file that it was compared with; None: not known


def remember_test(
    ledger: Ledger, sha256: str, cache: Cache, tested: Tested, *, tier: str, reference: str
) -> None:
    """Keep what `tested` says of the file with this hash, in the place of an earlier test."""
    lost = tested.quality
    ledger.remember(
        KIND,
        _inputs(sha256, cache),
        {
            "at": now(), "tier": tier, "verdict": tested.judgement.verdict,
            "kld_mean": lost.kld_mean.as_json(), "top1_agreement": lost.top1_agreement.as_json(),
            "n_windows": lost.n_windows, "reference": reference,
        },
    )  # fmt: skip


def last_test(ledger: Ledger, sha256: str, cache: Cache) -> Loss | None:
    """The last test of the file with this hash and this KV cache; None if it was never tested."""
    known: dict[str, Any] | None = ledger.recall(KIND, _inputs(sha256, cache))
    if known is None:
        return None
    figures = {key: Figure.from_json(known[key]) for key in ("kld_mean", "top1_agreement")}
    return Loss(**(known | figures))


def _inputs(sha256: str, cache: Cache) -> dict[str, object]:
    return {"model": sha256, "cache": list(cache)}
