"""llama.cpp's own quantizer, the oracle of the writer and of the mixture: it stands in a native
build alone.

`python quantizer.py REQUEST` runs in a process of its own, since llama.cpp may abort. REQUEST is a
JSON object: `library` (the folder of the native build), `source`, `ftypes`, `out` (empty: only the
types are planned) and `has_imatrix`. What the quantizer says goes to stderr, behind a line `ftype
N` for every one that was asked for.
"""

import ctypes
import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hakaru.engine.capi import LIBRARY, opened


class QuantizeParams(ctypes.Structure):
    """struct llama_model_quantize_params."""

    _fields_ = (
        ("nthread", ctypes.c_int32), ("ftype", ctypes.c_int), ("output_tensor_type", ctypes.c_int),
        ("token_embedding_type", ctypes.c_int), ("allow_requantize", ctypes.c_bool),
        ("quantize_output_tensor", ctypes.c_bool), ("only_copy", ctypes.c_bool),
        ("pure", ctypes.c_bool), ("keep_split", ctypes.c_bool), ("dry_run", ctypes.c_bool),
        ("imatrix", ctypes.c_void_p), ("kv_overrides", ctypes.c_void_p),
        ("tt_overrides", ctypes.c_void_p), ("prune_layers", ctypes.c_void_p),
        ("max_buf_size", ctypes.c_size_t),
    )  # fmt: skip


class ImatrixData(ctypes.Structure):
    """struct llama_model_imatrix_data."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("data", ctypes.POINTER(ctypes.c_float)),
        ("size", ctypes.c_size_t),
    )


class QuantizerRefused(Exception):
    """The quantizer said no; the text is its log."""


def quantize(library: Path, source: Path, out: Path, ftype: int) -> None:
    """Write `source` to `out` with the quantizer of llama.cpp. Raises QuantizerRefused."""
    _run(library=library, source=source, ftypes=[ftype], out=out)


def quantized_types(
    library: Path, source: Path, ftypes: Sequence[int], *, has_imatrix: bool = False
) -> list[dict[str, str]]:
    """For each ftype the type that the quantizer would give each tensor; nothing is written. Raises
    QuantizerRefused.
    """
    log = _run(library=library, source=source, ftypes=list(ftypes), out="", has_imatrix=has_imatrix)
    return [_types(part) for part in re.split(r"^ftype \d+\n", log, flags=re.MULTILINE)[1:]]


def _run(**request: Any) -> str:
    command = [sys.executable, __file__, json.dumps(request, default=str)]
    done = subprocess.run(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False
    )
    if done.returncode:
        raise QuantizerRefused(done.stderr)
    return done.stderr


def _types(log: str) -> dict[str, str]:
    """Tensor name to type, from lines such as `[ 1/ 21] output.weight - [ 256, 512, 1, 1], type =
    f16, converting to q6_K .. `.
    """
    types = {}
    for line in log.splitlines():
        if line.startswith("[") and (
            m := re.match(r"\[\s*\d+/\s*\d+\]\s+(\S+)\s+-.*type =\s*(\w+),(.*)", line)
        ):
            arrow = re.search(r"\((\w+)\)\s*$", m[3]) or re.search(r"converting to (\w+)", m[3])
            types[m[1]] = (arrow[1] if arrow else m[2]).upper()
    return types


def main(request: dict[str, Any]) -> int:
    """Quantize, or plan to, once for every ftype."""
    os.environ.pop(LIBRARY, None)
    opened(Path(request["library"])).llama_backend_init()  # refuses another version
    engine = ctypes.CDLL(str(next(Path(request["library"]).glob("libllama.*"))))
    engine.llama_model_quantize_default_params.restype = QuantizeParams
    engine.llama_model_quantize.argtypes = (
        ctypes.c_char_p,
        ctypes.c_char_p,
        ctypes.POINTER(QuantizeParams),
    )
    data = (ImatrixData * 2)(
        ImatrixData(b"x", (ctypes.c_float * 1)(1.0), 1), ImatrixData(None, None, 0)
    )
    for ftype in request["ftypes"]:
        print(f"ftype {ftype}", file=sys.stderr, flush=True)
        params = engine.llama_model_quantize_default_params()
        params.ftype, params.dry_run, params.allow_requantize = ftype, not request["out"], True
        if request.get("has_imatrix"):
            params.imatrix = ctypes.cast(data, ctypes.c_void_p)
        if (
            engine.llama_model_quantize(
                os.fsencode(request["source"]), os.fsencode(request["out"]), ctypes.byref(params)
            )
            != 0
        ):
            return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(json.loads(sys.argv[1])))
