"""What the lab child can be asked: how much of every tensor each type would lose, by ggml's own
quantizers.

The relative squared error is e = Σ w (x − q(x))² / Σ w x². w is the importance of the column, in a
stack of experts times the tokens that the expert saw; a column counts at most `MOST_IMPORTANT`
times as much as the median one, although it is quantized with all its importance: a few columns
whose values are huge at the first token alone (Sun et al. 2024, Massive Activations in Large
Language Models) would else be all that e knows of, and a type that ruins every other column would
look free. Rows are drawn with a chance in proportion to their part in the lower sum, which a quick
pass over the whole tensor gives exactly; then e is the mean of the drawn rows' own errors, which
differ little where the rows' sizes differ much, and its standard error is theirs over √n (Hansen
and Hurwitz 1943; Cochran, Sampling Techniques, chapter 9A). Of a small tensor all rows are taken,
and nothing is estimated.
"""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from hakaru.engine import ggml, libllama
from hakaru.engine.files import Steps
from hakaru.engine.ggml import Numbers
from hakaru.formats.gguf import Tensor
from hakaru.formats.imatrix import Imatrix, read_imatrix
from hakaru.formats.quant_types import BY_NAME, QuantType
from hakaru.formats.tensor_data import Bytes, TensorData
from hakaru.hardware.threads import n_threads

MORE: Final = 16
"""How many times as many weights are drawn where the first draw left a standard error above
`PRECISION` of the error: a few weights decide (Yu et al. 2024, The Super Weight in Large Language
Models).
"""
PRECISION: Final = 0.1
MOST_IMPORTANT: Final = 100.0
"""In medians of the columns' importance. On SmolLM2-135M one column of a layer's ffn_down has 94%
of the importance, and Q2_K an error of 5e-6; on a model without such columns the largest is about 7
medians, and nothing changes.
"""
Table = dict[str, list[float]]
"""By type: the error, and its standard error."""
Sums = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]


def quantization_errors(request: dict[str, Any]) -> Steps:
    """For every tensor named, each type that its rows and its importance allow: the error and its
    standard error.
    """
    path = Path(request["path"])
    data = TensorData(path)
    imatrix = read_imatrix(Path(request["imatrix"])) if request["imatrix"] else None
    types = [BY_NAME[name] for name in request["types"]]
    names: list[str] = request["tensors"]
    with ThreadPoolExecutor(n_threads()) as pool:
        jobs = [pool.submit(_errors, data, name, types, imatrix, request) for name in names]
        errors: dict[str, Table] = {}
        for done, (name, job) in enumerate(zip(names, jobs, strict=True), start=1):
            errors[name] = job.result()
            yield (done, len(names))
    return {"errors": errors}


def _errors(
    data: TensorData,
    name: str,
    types: Iterable[QuantType],
    imatrix: Imatrix | None,
    request: dict[str, Any],
) -> Table:
    tensor = data.tensors[name]
    importance = imatrix.importance(tensor) if imatrix else None
    shares = imatrix.shares(tensor) if imatrix else None
    w = None if importance is None or shares is None else _bounded(importance) * shares[:, None]
    whole = _energies(data.rows(name), tensor, w)
    if not np.isfinite(whole).all():
        raise libllama.NotNumbers(request["path"], name)
    left = [
        t
        for t in types
        if tensor.shape[0] % t.block == 0
        and (importance is not None or not ggml.needs_importance(t))
    ]
    random = np.random.default_rng([request["seed"], *name.encode()])
    table: Table = {}
    for n_weights in (request["n_weights"], MORE * request["n_weights"]):
        rows, times = _drawn(
            whole, max(request["n_rows"], -(-n_weights // tensor.shape[0])), random
        )
        values = ggml.numbers(data.rows(name)[rows], tensor.type)
        matrices = rows // (tensor.shape[1] if len(tensor.shape) > 1 else 1)
        for type_ in left:
            back = ggml.numbers(_quantized(values, type_, importance, matrices), type_)
            np.subtract(back, values, out=back)
            lost = _weighted(back, w[matrices] if w is not None else None)
            table[type_.name] = _estimate(lost, whole[rows], times, whole.sum())
        left = [t for t in left if table[t.name][1] > PRECISION * table[t.name][0]]
        if not left:
            break
    return table


def _bounded(importance: Numbers) -> Numbers:
    """The importance of every column, in no matrix above `MOST_IMPORTANT` medians of its columns
    that have any.
    """
    seen = np.where(importance > 0, importance, np.nan)
    middle = [np.nanmedian(row) if (row > 0).any() else np.inf for row in seen]
    bounded: Numbers = np.minimum(
        importance, MOST_IMPORTANT * np.array(middle, importance.dtype)[:, None]
    )
    return bounded


def _energies(rows: Bytes, tensor: Tensor, w: Numbers | None) -> Sums:
    """Σ w x² of every row."""
    energies = np.empty(len(rows))
    for matrix, some in ggml.chunks(tensor):
        energies[some] = _weighted(
            ggml.numbers(rows[some], tensor.type), w[matrix] if w is not None else None
        )
    return energies


def _drawn(whole: Sums, n: int, random: np.random.Generator) -> tuple[Rows, Rows]:
    """The rows that are looked at, in order, and how often each was drawn: all of them once, if
    they are not more than n.
    """
    if len(whole) <= n or not whole.sum():
        return np.arange(len(whole)), np.ones(len(whole), np.int64)
    return np.unique(random.choice(len(whole), n, p=whole / whole.sum()), return_counts=True)


def _quantized(
    values: Numbers, type_: QuantType, importance: Numbers | None, matrices: Rows
) -> Bytes:
    """The drawn rows in another type, those of each matrix with its own importance."""
    if importance is None:
        return ggml.quantized(values, type_)
    runs = np.split(values, np.flatnonzero(np.diff(matrices)) + 1)
    return np.concatenate(
        [
            ggml.quantized(run, type_, importance[i])
            for run, i in zip(runs, np.unique(matrices), strict=True)
        ]
    )


def _weighted(values: Numbers, w: Numbers | None) -> Sums:
    """Squares, weighted by column, summed over each row."""
    sums: Sums = np.sum(
        values * values if w is None else values * values * w, axis=1, dtype=np.float64
    )
    return sums


def _estimate(lost: Sums, whole: Sums, times: Rows, total: float) -> list[float]:
    """Σ lost / Σ whole over all rows from those drawn, and its standard error."""
    n = times.sum()
    if np.isclose(whole.sum(), total, rtol=1e-12) and (times == 1).all():
        return [float(lost.sum() / total) if total else 0.0, 0.0]
    errors = lost / whole
    mean = float((times * errors).sum() / n)
    return [mean, float(np.sqrt((times * (errors - mean) ** 2).sum() / (n - 1) / n))]
