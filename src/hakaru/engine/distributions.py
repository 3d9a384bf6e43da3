"""Next-token distributions in numpy: how far two of them are apart, and a draw from one. Pure, so
that it is tested without llama.cpp.
"""

from typing import Final

import numpy as np
import numpy.typing as npt


class NotFiniteError(ValueError):
    """Logits of the `reference` or the `candidate` are not numbers."""


Rows = npt.NDArray[np.float64]
ROWS: Final = 16  # rows of logits at a time, so that they stay in the cache
PART: Final = 32  # terms that are added in single precision


def divergence(
    reference: npt.NDArray[np.float32],
    candidate: npt.NDArray[np.float32],
    targets: npt.NDArray[np.int64],
) -> dict[str, float]:
    """Sums over one window: KLD in nats, top-1 agreements, both negative log-likelihoods. Logits
    have shape (n, n_vocab), `targets` (n,).
    """
    return sums_of(token_divergences(reference, candidate, targets))


def sums_of(rows: dict[str, Rows]) -> dict[str, float]:
    """The sums of what `token_divergences` gives, and the number of tokens."""
    return {"n": len(rows["kld"]), **{name: float(values.sum()) for name, values in rows.items()}}


def token_divergences(
    reference: npt.NDArray[np.float32],
    candidate: npt.NDArray[np.float32],
    targets: npt.NDArray[np.int64],
) -> dict[str, Rows]:
    """For every row the KLD in nats, whether the most likely token is the same, and both negative
    log-likelihoods; shape (n,).

    KLD = Σ p (x − y) / Zp + log Zq − log Zp with x, y the logits less their maximum, p = exp x.
    """
    columns: dict[str, list[Rows]] = {
        "kld": [],
        "agreed": [],
        "nll_reference": [],
        "nll_candidate": [],
    }
    for begin in range(0, len(targets), ROWS):
        x, y = reference[begin : begin + ROWS], candidate[begin : begin + ROWS]
        wanted, row = targets[begin : begin + ROWS], np.arange(len(x))
        best = x.argmax(axis=1), y.argmax(axis=1)
        tops = x[row, best[0]], y[row, best[1]]  # not a number as soon as one logit is none
        for which, top in zip(("reference", "candidate"), tops, strict=True):
            if not np.isfinite(top).all():
                raise NotFiniteError(which)
        x, y = x - tops[0][:, None], y - tops[1][:, None]
        chosen = x[row, wanted], y[row, wanted]
        apart = x - y
        p, q = np.exp(x, out=x), np.exp(y, out=y)
        zp, zq = _sums(p), _sums(q)
        log_zp, log_zq = np.log(zp), np.log(zq)
        columns["kld"].append(_sums(np.multiply(p, apart, out=apart)) / zp + log_zq - log_zp)
        columns["agreed"].append((best[0] == best[1]).astype(np.float64))
        columns["nll_reference"].append(log_zp - chosen[0])
        columns["nll_candidate"].append(log_zq - chosen[1])
    return {name: np.concatenate(rows) if rows else np.zeros(0) for name, rows in columns.items()}


def _sums(terms: npt.NDArray[np.float32]) -> Rows:
    """The sum of each row: of PART terms in single precision, whose errors are below 1e-7 of the
    sum, of those sums in double; twice as fast as all in double.
    """
    whole = terms.shape[1] // PART * PART
    parts = terms[:, :whole].reshape(len(terms), PART, -1).sum(axis=1)
    return np.asarray(
        parts.sum(axis=1, dtype=np.float64) + terms[:, whole:].sum(axis=1, dtype=np.float64)
    )


def sample(logits: npt.NDArray[np.float32], dice: np.random.Generator) -> int:
    """One draw at temperature 1: the model's own distribution."""
    x = logits.astype(np.float64)
    p = np.exp(x - x.max())
    return int(np.searchsorted(np.cumsum(p), dice.random() * p.sum()))
