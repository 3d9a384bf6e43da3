"""Next-token distributions in numpy: how far two of them are apart, and a draw from one. Pure, so that it is tested
without llama.cpp.
"""

import numpy as np
import numpy.typing as npt


class NotFiniteError(ValueError):
    """Logits of the `reference` or the `candidate` are not numbers."""


Rows = npt.NDArray[np.float64]


def divergence(
    reference: npt.NDArray[np.float32], candidate: npt.NDArray[np.float32], targets: npt.NDArray[np.int64]
) -> dict[str, float]:
    """Sums over one window: KLD in nats, top-1 agreements, both negative log-likelihoods. Logits have shape (n, n_vocab),
    `targets` (n,).
    """
    return sums_of(token_divergences(reference, candidate, targets))


def sums_of(rows: dict[str, Rows]) -> dict[str, float]:
    """The sums of what `token_divergences` found, and their number."""
    return {"n": len(rows["kld"]), **{name: float(values.sum()) for name, values in rows.items()}}


def token_divergences(
    reference: npt.NDArray[np.float32], candidate: npt.NDArray[np.float32], targets: npt.NDArray[np.int64]
) -> dict[str, Rows]:
    """For every row the KLD in nats, whether the most likely token is the same, and both negative log-likelihoods; shape (n,).

    KLD(p‖q) = Σ p (x − y) + log Zq − log Zp with x, y the logits less their maximum; sums over the vocabulary are in float64.
    Rows are taken 32 at a time, so that they stay in the cache.
    """
    found: dict[str, list[Rows]] = {"kld": [], "agreed": [], "nll_reference": [], "nll_candidate": []}
    for begin in range(0, len(targets), 32):
        x, y = reference[begin : begin + 32], candidate[begin : begin + 32]
        wanted, row = targets[begin : begin + 32], np.arange(len(x))
        tops = x.max(axis=1, keepdims=True), y.max(axis=1, keepdims=True)  # not a number as soon as one logit is none
        for which, top in zip(("reference", "candidate"), tops, strict=True):
            if not np.isfinite(top).all():
                raise NotFiniteError(which)
        x, y = x - tops[0], y - tops[1]
        p = np.exp(x)
        log_zp = np.log(p.sum(axis=1, dtype=np.float64))
        log_zq = np.log(np.exp(y).sum(axis=1, dtype=np.float64))
        found["kld"].append((p * (x - y)).sum(axis=1, dtype=np.float64) / np.exp(log_zp) + log_zq - log_zp)
        found["agreed"].append((x.argmax(axis=1) == y.argmax(axis=1)).astype(np.float64))
        found["nll_reference"].append(log_zp - x[row, wanted])
        found["nll_candidate"].append(log_zq - y[row, wanted])
    return {name: np.concatenate(rows) if rows else np.zeros(0) for name, rows in found.items()}


def sample(logits: npt.NDArray[np.float32], dice: np.random.Generator) -> int:
    """One draw at temperature 1: the model's own distribution."""
    x = logits.astype(np.float64)
    p = np.exp(x - x.max())
    return int(np.searchsorted(np.cumsum(p), dice.random() * p.sum()))
