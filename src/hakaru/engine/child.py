"""The lab's child process: one request in, progress and one result out.

`python -m hakaru.engine.child` reads one JSON line from stdin, `{"operation": …, …}`, and writes
JSON lines to what was stdout: `{"progress": [done, total]}`, then `{"result": …}`, `{"refused":
…}`, `{"damaged": …}` or `{"unknown_build": [expected, found]}`. Whatever llama.cpp prints goes to
stderr. When stdin closes, the parent is gone, and the child leaves.
"""

import importlib
import json
import os
import sys
import threading
from typing import IO, Any, Final

from hakaru.engine.orphan import die_with_parent

OPERATIONS: Final = {
    **dict.fromkeys(("dry_run", "tokenize"), "hakaru.engine.files"),
    **dict.fromkeys(("answer", "compare"), "hakaru.engine.logits"),
    "importance": "hakaru.engine.importance",
    "quantization_errors": "hakaru.engine.quantization_errors",
    "probe": "hakaru.engine.probes",
    "write_tensors": "hakaru.engine.quantizing",
}
"""The module of every operation; only that one is imported."""


def main() -> None:
    """Serve one request."""
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # C code may print: that must not reach the replies
    die_with_parent()
    request = json.loads(sys.stdin.readline())
    threading.Thread(target=_leave_with_parent, daemon=True).start()

    from hakaru.engine.capi import UnknownBuildError

    try:
        from hakaru.engine import libllama
    except UnknownBuildError as unknown:
        _write(replies, {"unknown_build": unknown.args})
        return
    libllama.start()
    operation = request.pop("operation")
    steps = getattr(importlib.import_module(OPERATIONS[operation]), operation)(request)
    try:
        while True:
            try:
                _write(replies, {"progress": next(steps)})
            except StopIteration as end:
                _write(replies, {"result": end.value})
                return
    except libllama.Refused as refusal:
        _write(replies, {"refused": str(refusal)})
    except libllama.NotNumbers as damage:
        _write(replies, {"damaged": damage.path, "tensor": damage.tensor})


def _write(replies: IO[str], reply: dict[str, Any]) -> None:
    replies.write(json.dumps(reply) + "\n")
    replies.flush()


def _leave_with_parent() -> None:
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    main()
