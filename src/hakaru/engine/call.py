"""One call of the lab's child process: a request in, progress and one result out.

Every call starts one child. A child that dies, for whatever reason, becomes `EngineDied` with its
last log lines; the parent never dies with it. Ctrl-C ends the child too.
"""

import json
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, Final

from hakaru.engine.builds import PACKAGE, selection
from hakaru.engine.capi import LIBRARY, PINNED
from hakaru.engine.environment import child_environment
from hakaru.engine.log import last_words
from hakaru.engine.process import KEPT_LINES, child_command, how_it_ended
from hakaru.errors import (
    EngineDied,
    EngineMissing,
    EngineRefused,
    HakaruError,
    ModelDamaged,
    ModelUnknown,
)

Progress = Callable[[int, int], None]
SLEEP_SOON: Final = {"GOMP_SPINCOUNT": "10000"}
"""llama.cpp's threads spin for a moment only when a graph is done: threads that spin take the
processors from our own work on the logits.
"""


def no_progress(done: int, total: int) -> None:
    """The `progress` of calls that nobody watches."""


def no_part(part: Any) -> None:
    """The `on_part` of operations whose steps carry no part of the result."""


def lab_library() -> str:
    """The folder of the native build that measures, or nothing for the wheel, which a child finds
    by itself.
    """
    library = selection().lab.library
    return str(library) if library and library.is_dir() else ""


def call(
    operation: str,
    request: dict[str, Any],
    *,
    progress: Progress = no_progress,
    on_part: Callable[[Any], None] = no_part,
) -> dict[str, Any]:
    """The result of one operation of `child.OPERATIONS`. `on_part` is given the part of the result
    that a step carries. An exception of `progress` or `on_part` ends the child.

    Raises EngineMissing, EngineDied, EngineRefused, ModelDamaged and ModelUnknown.
    """
    path = request.get("path", request.get("reference"))
    with _Child() as child:
        for reply in child.replies({"operation": operation, **request}):
            if "progress" in reply:
                done, total, *parts = reply["progress"]
                progress(done, total)
                for part in parts:
                    on_part(part)
            elif "result" in reply:
                result: dict[str, Any] = reply["result"]
                return result
            elif "damaged" in reply:
                raise _damaged(reply["damaged"], reply["tensor"])
            elif "unknown_build" in reply:
                raise _unknown_build(*reply["unknown_build"])
            else:
                raise _refused(reply["refused"], path, child.finish())
        log = child.finish()
        raise EngineDied(
            "the engine's process ended ({how}) during '{operation}' of {path}; its last words: "
            "{last}",
            log=log,
            how=how_it_ended(child.process.returncode),
            operation=operation,
            path=path,
            last=last_words(log),
        )


class _Child:
    """One child process. Leaving the block ends it, however the block is left."""

    def __init__(self) -> None:
        self._log: deque[str] = deque(maxlen=KEPT_LINES)

    def __enter__(self) -> "_Child":
        self.process = subprocess.Popen(
            child_command("hakaru.engine.child"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            errors="replace",
            env=SLEEP_SOON | child_environment() | {LIBRARY: lab_library()},
        )
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.finish()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            if stream:
                with suppress(BrokenPipeError):
                    stream.close()

    def replies(self, request: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Send the request and read replies until the child's output ends."""
        assert self.process.stdin and self.process.stdout
        with suppress(BrokenPipeError):  # the child is already gone: its end of output says so
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
        for line in self.process.stdout:
            yield json.loads(line)

    def finish(self) -> list[str]:
        """Wait for the end of the process and of its log, and return the log."""
        self.process.wait()
        self._listener.join()
        return list(self._log)

    def _listen(self) -> None:
        assert self.process.stderr
        for line in self.process.stderr:
            self._log.append(line.rstrip("\n"))


def _unknown_build(expected: str, found: str) -> EngineMissing:
    """The error for a library of llama.cpp whose structs are not those that hakaru was
    written for.
    """
    return EngineMissing(
        "this llama.cpp is not the build that hakaru measures with (expected {expected}, found "
        "{found}): run make, or: pip install {package}=={version}.",
        expected=expected,
        found=found,
        package=PACKAGE,
        version=PINNED,
    )


def _damaged(path: str, tensor: str | None) -> ModelDamaged:
    """The error for a model that computes, or holds, what is no number."""
    if tensor:
        return ModelDamaged(
            "{path}: tensor {name} holds weights that are not numbers; fetch the file again.",
            path=path,
            name=tensor,
        )
    return ModelDamaged(
        "{path}: gives logits that are not numbers, so its tensor data is damaged; fetch the "
        "file again.",
        path=path,
    )


def _refused(step: str, path: object, log: list[str]) -> HakaruError:
    """The error for a step that llama.cpp refused, with the reason from its log."""
    reasons = [
        line.strip()
        for word in ("error", "failed", "unknown")
        for line in log
        if word in line.lower()
    ]
    reason = next(iter([*reasons, *log]), "-")
    if any("unknown model architecture" in line for line in reasons):
        return ModelUnknown(
            "{path}: neither hakaru nor this build of llama.cpp knows the model's architecture "
            "({reason}); update hakaru or choose another model.",
            path=path,
            reason=reason,
        )
    if step == "load":
        return ModelDamaged(
            "{path}: llama.cpp cannot load it ({reason}); fetch the file again or choose another "
            "model.",
            path=path,
            reason=reason,
        )
    return EngineRefused(
        "llama.cpp refused to {step} {path}: {reason}", step=step, path=path, reason=reason
    )
