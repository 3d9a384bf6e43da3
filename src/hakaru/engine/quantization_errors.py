"""What the lab child can be asked: how much of every tensor each type would lose, by ggml's own quantizers.

The relative squared error e = Σ w (x − q(x))² / Σ w x² is a ratio of sums over rows, so rows are drawn at random and both
sums estimated from the same rows; its standard error is that of a ratio estimator without replacement (Cochran, Sampling
Techniques, chapter 6), and 0 where all rows are taken. w is the importance of the column, in a stack of experts times the
tokens that the expert saw.
"""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from hakaru.engine import ggml, llama
from hakaru.engine.files import Steps
from hakaru.engine.ggml import Numbers
from hakaru.models.imatrix import Imatrix, read_imatrix
from hakaru.models.quant_types import BY_NAME, QuantType
from hakaru.models.tensor_data import Bytes, TensorData

N_WEIGHTS: Final = 2**15
"""Weights that are drawn of a tensor, at least: so many rows that they have as many, where they are short."""
Table = dict[str, list[float]]


def quantization_errors(request: dict[str, Any]) -> Steps:
    """For every tensor named, each type that its rows and its importance allow: the error and its standard error."""
    path = Path(request["path"])
    data = TensorData(path)
    imatrix = read_imatrix(Path(request["imatrix"])) if request["imatrix"] else None
    types = [BY_NAME[name] for name in request["types"]]
    names: list[str] = request["tensors"]
    with ThreadPoolExecutor(llama.n_threads()) as pool:
        for name in names:
            if not ggml.is_finite(data.rows(name), data.tensors[name], pool):
                raise llama.NotNumbers(request["path"], name)
        found: dict[str, Table] = {}
        jobs = (pool.submit(_errors, data, name, types, imatrix, request) for name in names)
        for done, (name, job) in enumerate(zip(names, list(jobs), strict=True), start=1):
            found[name] = job.result()
            yield (done, len(names))
    return {"errors": found}


def _errors(data: TensorData, name: str, types: Iterable[QuantType], imatrix: Imatrix | None, request: dict[str, Any]) -> Table:
    tensor = data.tensors[name]
    n_all = tensor.n_elements // tensor.shape[0]
    rows = _drawn(
        n_all, max(request["n_rows"], -(-N_WEIGHTS // tensor.shape[0])), np.random.default_rng([request["seed"], *name.encode()])
    )
    values = ggml.numbers(data.rows(name)[rows], tensor.type)
    importance = imatrix.importance(tensor) if imatrix else None
    shares = imatrix.shares(tensor) if imatrix else None
    matrices = rows // (tensor.shape[1] if len(tensor.shape) > 1 else 1)
    w = np.float32(1) if importance is None or shares is None else importance[matrices] * shares[matrices][:, None]
    whole = _row_sums(values, w)
    found = {}
    for type_ in types:
        if tensor.shape[0] % type_.block == 0 and (importance is not None or not ggml.needs_importance(type_)):
            back = ggml.numbers(_quantized(values, type_, importance, matrices), type_)
            np.subtract(back, values, out=back)
            found[type_.name] = _ratio(_row_sums(back, w), whole, n_all)
    return found


def _drawn(n_all: int, n: int, random: np.random.Generator) -> npt.NDArray[np.int64]:
    """Numbers of the rows that are looked at, in order."""
    return np.arange(n_all) if n_all <= n else np.sort(random.choice(n_all, n, replace=False))


def _quantized(values: Numbers, type_: QuantType, importance: Numbers | None, matrices: npt.NDArray[np.int64]) -> Bytes:
    """The drawn rows in another type, those of each matrix with its own importance."""
    if importance is None:
        return ggml.quantized(values, type_)
    runs = np.split(values, np.flatnonzero(np.diff(matrices)) + 1)
    return np.concatenate([ggml.quantized(run, type_, importance[i]) for run, i in zip(runs, np.unique(matrices), strict=True)])


def _row_sums(values: Numbers, w: Numbers | np.float32) -> npt.NDArray[np.float64]:
    """Weighted squares, summed over each row."""
    sums: npt.NDArray[np.float64] = np.sum(values * values * w, axis=1, dtype=np.float64)
    return sums


def _ratio(lost: npt.NDArray[np.float64], whole: npt.NDArray[np.float64], n_all: int) -> list[float]:
    """Σ lost / Σ whole over all rows, estimated from those drawn, and its standard error."""
    if not whole.sum():
        return [0.0, 0.0]
    n, ratio = len(lost), lost.sum() / whole.sum()
    if n == n_all:
        return [float(ratio), 0.0]
    spread = np.sum((lost - ratio * whole) ** 2) / (n - 1)
    return [float(ratio), float(np.sqrt((1 - n / n_all) * spread / n) / whole.mean())]
