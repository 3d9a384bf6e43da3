"""What the lab child can be asked: how far a model moves when some of its tensors have another
type.

All probes of one call share the model, the windows and the logits of the unperturbed model, so that
differences are paired. Those logits are kept in full precision for as many windows as there is room
for; with more windows the probes go round again for the next ones. Several windows are read side by
side. See `weights` for what an exchange does.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hakaru.engine import libllama, weights
from hakaru.engine.distributions import NotFiniteError, divergence
from hakaru.engine.files import Steps
from hakaru.engine.logits import Batch, Plan, targets
from hakaru.engine.weights import KeptFiles, Weights
from hakaru.formats.imatrix import read_imatrix
from hakaru.formats.tensor_data import TensorData
from hakaru.hardware.threads import n_threads

Windows = list[dict[str, Any]]


def probe(request: dict[str, Any]) -> Steps:
    """For every probe, a set of tensors with types, the sums per window; and as `missing` the
    tensors that llama.cpp does not compute with.
    """
    path, probes, windows = Path(request["path"]), request["probes"], request["windows"]
    data = TensorData(path)
    imatrix = read_imatrix(Path(request["imatrix"])) if request["imatrix"] else None
    kept = (
        KeptFiles(folder=Path(request["kept"]["folder"]), names=request["kept"]["names"])
        if request["kept"]
        else None
    )
    results: list[list[dict[str, float]]] = [[] for _ in probes]
    with weights.model(path) as model, ThreadPoolExecutor(n_threads()) as pool:
        exchangeable = Weights(
            model,
            data,
            pool,
            lambda name: imatrix.importance(data.tensors[name]) if imatrix else None,
            kept,
        )
        plan = Plan(windows, n_vocab=libllama.n_vocab(model))
        done = 0
        with plan.context(model) as ctx:
            batch = Batch(plan.n_tokens)
            for group in _groups(plan, request["reference_bytes"]):
                references = [
                    [np.array(rows) for rows in batch.decode_windows(ctx, some)] for some in group
                ]
                for types, result in zip(probes, results, strict=True):
                    with exchangeable.exchanged(types):
                        for some, reference in zip(group, references, strict=True):
                            rows = batch.decode_windows(ctx, some)
                            result += _divergences(request["path"], some, reference, rows, pool)
                            done += len(some)
                            yield (done, len(windows) * len(probes))
        exchangeable.close()
    return {"probes": results, "missing": exchangeable.missing}


def _groups(plan: Plan, room: int) -> Iterator[list[Windows]]:
    """Batches whose logits are kept together, since they take at most `room` bytes."""
    group, held = list[Windows](), 0
    for some in plan.batches:
        size = plan.logits_bytes(some)
        if group and held + size > room:
            yield group
            group, held = [], 0
        group.append(some)
        held += size
    yield group


def _divergences(
    path: str,
    windows: Windows,
    reference: Sequence[npt.NDArray[Any]],
    rows: Sequence[npt.NDArray[Any]],
    pool: Executor,
) -> list[dict[str, float]]:
    try:
        return list(pool.map(divergence, reference, rows, map(targets, windows)))
    except NotFiniteError as error:
        if str(error) == "reference":
            raise libllama.NotNumbers(path) from error
        raise libllama.Refused("give numbers with the exchanged tensors of") from error
