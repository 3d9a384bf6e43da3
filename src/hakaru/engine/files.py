"""What the lab child can be asked about a model file without running the model: lay it out,
tokenize.

Each operation takes a request and yields progress, (done, total), then returns a result; both are
JSON objects. The parent's half, with types, is `lab.py`.
"""

import re
from collections.abc import Generator
from pathlib import Path
from typing import Any

from hakaru.engine import libllama
from hakaru.engine.libllama import c
from hakaru.engine.log import buffer_bytes

Steps = Generator[tuple[Any, ...], None, dict[str, Any]]
_KV_SIZE = re.compile(r"llama_kv_cache: size =\s+([0-9.]+) MiB")


def dry_run(request: dict[str, Any]) -> Steps:
    """Lay the model and its context out without allocating, and report every buffer."""
    with (
        libllama.model(Path(request["path"]), no_alloc=True) as model,
        libllama.context(model, **request["context"]) as ctx,
    ):
        by_device = libllama.buffers(ctx)
        yield (1, 1)
        totals = _totals(by_device) if by_device else _totals_from_log(model)
        return {
            **totals,
            "output_bytes": buffer_bytes(libllama.log_lines)["output"],
            "devices": by_device or {},
        }


def tokenize(request: dict[str, Any]) -> Steps:
    """Token ids of every text, and the tokens that this model expects before every text."""
    with libllama.model(Path(request["path"]), no_alloc=True) as model:
        tokens = []
        for i, text in enumerate(request["texts"]):
            tokens.append(libllama.tokenize(model, text))
            yield (i + 1, len(request["texts"]))
        return {"tokens": tokens, "opening": libllama.opening(model)}


def _totals(by_device: dict[str, dict[str, int]]) -> dict[str, int]:
    return {
        f"{part}_bytes": sum(device[kind] for device in by_device.values())
        for part, kind in (("weights", "model"), ("kv_cache", "context"), ("compute", "compute"))
    }


def _totals_from_log(model: Any) -> dict[str, int]:
    kv = sum(float(m[1]) for line in libllama.log_lines if (m := _KV_SIZE.search(line)))
    return {
        "weights_bytes": c.llama_model_size(model),
        "kv_cache_bytes": round(kv * 2**20),
        "compute_bytes": buffer_bytes(libllama.log_lines)["compute"],
    }
