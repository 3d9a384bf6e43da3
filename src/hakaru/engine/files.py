"""What the lab child can be asked about a model file without running the model: lay it out, plan, quantize, tokenize.

Each operation takes a request and yields progress, (done, total), then returns a result; both are JSON objects. The
parent's half, with types, is `lab.py`.
"""

import os
import re
from collections.abc import Generator
from pathlib import Path
from typing import Any

from hakaru.engine import llama
from hakaru.engine.llama import c
from hakaru.engine.log import buffer_bytes
from hakaru.hardware.threads import n_threads

Steps = Generator[tuple[Any, ...], None, dict[str, Any]]
_KV_SIZE = re.compile(r"llama_kv_cache: size =\s+([0-9.]+) MiB")


def dry_run(request: dict[str, Any]) -> Steps:
    """Lay the model and its context out without allocating, and report every buffer."""
    with llama.model(Path(request["path"]), no_alloc=True) as model, llama.context(model, **request["context"]) as ctx:
        found = llama.buffers(ctx)
        yield (1, 1)
        totals = _totals(found) if found else _totals_from_log(model)
        return {
            **totals,
            "output_bytes": buffer_bytes(llama.log_lines)["output"],
            "devices": found or {},
        }


def plan(request: dict[str, Any]) -> Steps:
    """The types per tensor that llama.cpp's quantizer would give for each ftype; nothing is written."""
    plans = []
    for i, ftype in enumerate(request["ftypes"]):
        llama.log_lines.clear()
        _quantize(request["path"], "", ftype, dry_run=True)
        plans.append(_quantized_types())
        yield (i + 1, len(request["ftypes"]))
    return {"plans": plans}


def quantize(request: dict[str, Any]) -> Steps:
    """Write a quantized copy. Its progress is in the log: one line per tensor."""
    yield (0, 1)
    _quantize(request["path"], request["out"], request["ftype"], dry_run=False)
    return {}


def tokenize(request: dict[str, Any]) -> Steps:
    """Token ids of every text, and those that every text begins with."""
    with llama.model(Path(request["path"]), no_alloc=True) as model:
        tokens = []
        for i, text in enumerate(request["texts"]):
            tokens.append(llama.tokenize(model, text))
            yield (i + 1, len(request["texts"]))
        return {"tokens": tokens, "opening": llama.opening(model)}


def _totals(found: dict[str, dict[str, int]]) -> dict[str, int]:
    return {
        f"{part}_bytes": sum(device[kind] for device in found.values())
        for part, kind in (("weights", "model"), ("kv_cache", "context"), ("compute", "compute"))
    }


def _totals_from_log(model: Any) -> dict[str, int]:
    kv = sum(float(m[1]) for line in llama.log_lines if (m := _KV_SIZE.search(line)))
    return {
        "weights_bytes": c.llama_model_size(model),
        "kv_cache_bytes": round(kv * 2**20),
        "compute_bytes": buffer_bytes(llama.log_lines)["compute"],
    }


def _quantize(path: str, out: str, ftype: int, *, dry_run: bool) -> None:
    params = c.llama_model_quantize_default_params()
    params.ftype, params.dry_run = ftype, dry_run
    params.nthread = n_threads()
    params.allow_requantize = True
    if c.llama_model_quantize(os.fsencode(path), os.fsencode(out), params) != 0:
        raise llama.Refused("quantize")


def _quantized_types() -> dict[str, str]:
    """Tensor name to the type that the quantizer gave it, from its own log lines."""
    types = {}
    for line in llama.log_lines:
        if line.startswith("[") and (m := re.match(r"\[\s*\d+/\s*\d+\]\s+(\S+)\s+-.*type =\s*(\w+),(.*)", line)):
            arrow = re.search(r"\((\w+)\)\s*$", m[3]) or re.search(r"converting to (\w+)", m[3])
            types[m[1]] = (arrow[1] if arrow else m[2]).upper()
    return types
