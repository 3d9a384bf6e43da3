"""Many dry runs of one file: one child process lays the model out once and makes a context for each
setting.

`Lab.dry_run` starts a child per call; a benchmark of a thousand settings cannot wait for that. The
child is this file run as a program: one JSON request in, one JSON line per setting out. Where
llama.cpp aborts, that one setting has no answer and a new child goes on behind it.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from hakaru.formats.quant_types import BY_NAME
from hakaru.memory.footprint import Footprint
from hakaru.memory.settings import ContextSettings

TIMEOUT_S: Final = 300


def dry_runs(path: Path, settings: Sequence[ContextSettings]) -> list[Footprint | None]:
    """What llama.cpp would allocate for each of `settings`; None where it refuses them or
    aborts.
    """
    found: list[Footprint | None] = []
    while len(found) < len(settings):
        answers = list(_answers(path, settings[len(found) :]))
        found += [_footprint(answer) if answer else None for answer in answers]
        if len(found) < len(settings):
            found.append(None)  # the child died over this one
    return found


def _footprint(answer: dict[str, int]) -> Footprint:
    return Footprint(
        weights_bytes=answer["weights_bytes"], kv_cache_bytes=answer["kv_cache_bytes"],
        compute_bytes=answer["compute_bytes"], output_bytes=answer["output_bytes"],
        source="dry_run",
    )  # fmt: skip


def _answers(path: Path, settings: Sequence[ContextSettings]) -> Iterator[dict[str, int] | None]:
    request = {"path": str(path), "contexts": [_context(s) for s in settings]}
    child = subprocess.run(
        [sys.executable, __file__],
        input=json.dumps(request),
        capture_output=True,
        text=True,
        errors="replace",
        timeout=TIMEOUT_S,
    )
    for line in child.stdout.splitlines():
        yield json.loads(line)


def _context(settings: ContextSettings) -> dict[str, Any]:
    return {
        "n_ctx": settings.n_ctx, "n_ubatch": settings.n_ubatch, "n_outputs_max": settings.n_outputs,
        "n_seq_max": settings.n_parallel, "kv_unified": settings.kv_unified,
        "type_k": BY_NAME[settings.type_k.upper()].id,
        "type_v": BY_NAME[settings.type_v.upper()].id,
    }  # fmt: skip


def serve() -> None:
    """The child: a line for each context of the request on what was stdout, llama.cpp's own words
    on stderr.
    """
    from hakaru.engine import libllama
    from hakaru.engine.log import buffer_bytes

    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # C code may print: that must not reach the answers
    request = json.loads(sys.stdin.read())
    libllama.start()
    with libllama.model(Path(request["path"]), no_alloc=True) as model:
        for wanted in request["contexts"]:
            libllama.log_lines.clear()
            answer = None
            try:
                with libllama.context(model, **wanted) as context:
                    answer = _sums(
                        libllama.buffers(context), buffer_bytes(libllama.log_lines)["output"]
                    )
            except libllama.Refused:
                pass
            print(json.dumps(answer), file=answers, flush=True)


def _sums(buffers: dict[str, dict[str, int]] | None, output_bytes: int) -> dict[str, int]:
    if buffers is None:
        raise SystemExit(
            "this build of llama.cpp does not tell its buffers to the byte: run the benchmark on "
            "Linux."
        )
    parts = {"weights_bytes": "model", "kv_cache_bytes": "context", "compute_bytes": "compute"}
    return {part: sum(b[kind] for b in buffers.values()) for part, kind in parts.items()} | {
        "output_bytes": output_bytes
    }


if __name__ == "__main__":
    serve()
