"""Run in a process of its own, since llama.cpp is: exchange the matrices of a model, restore them,
compare logits bit by bit.

`python exchange.py MODEL TYPE` prints one JSON object.
"""

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from hakaru.engine import libllama, weights
from hakaru.engine.logits import Batch, Plan
from hakaru.formats.tensor_data import TensorData

WINDOWS = [{"tokens": list(range(7 * i + 2, 7 * i + 26)), "first": 4} for i in range(2)]
KEPT = ("norm", "conv", "ffn_gate_inp.")


def main(path: Path, type_: str) -> None:
    libllama.start()
    data = TensorData(path)
    matrices = [
        t.name
        for t in data.tensors.values()
        if len(t.shape) > 1 and t.name.endswith("weight") and t.shape[0] % 32 == 0
    ]
    matrices = [name for name in matrices if not any(part in name for part in KEPT)]
    with weights.model(path) as model, ThreadPoolExecutor(2) as pool:
        found = weights.Weights(model, data, pool, lambda name: None)
        plan = Plan(WINDOWS, n_vocab=libllama.n_vocab(model))
        with plan.context(model) as ctx:
            batch = Batch(plan.n_tokens)

            def logits() -> bytes:
                return b"".join(
                    np.array(rows).tobytes()
                    for some in plan.batches
                    for rows in batch.decode_windows(ctx, some)
                )

            before, without_part = logits(), []
            for name in matrices:
                with found.exchanged({name: type_}):
                    without_part += [name] * (logits() == before)
            one_by_one = logits()
            with found.exchanged(dict.fromkeys(matrices, type_)):
                moved = logits() != before
            result = {
                "missing": found.missing,
                "without_part": without_part,
                "moved": moved,
                "n": len(matrices),
            }
            print(json.dumps(result | {"restored": one_by_one == before == logits()}))


main(Path(sys.argv[1]), sys.argv[2])
