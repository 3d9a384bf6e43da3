"""The lab: the parent's half of llama.cpp in a child process.

Every call starts one child, sends one request and reads progress and a result. A child that dies, for whatever reason,
becomes `EngineDied` with its last log lines; the parent never dies with it. Ctrl-C ends the child too.
"""

import json
import os
import re
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any, Final

from hakaru.engine.jobs import TensorJob
from hakaru.engine.log import is_host, last_words
from hakaru.engine.process import CHILD_ENVIRONMENT, KEPT_LINES, child_command, how_it_ended
from hakaru.errors import EngineDied, EngineMissing, EngineRefused, HakaruError, Misuse, ModelDamaged, ModelUnknown
from hakaru.memory.footprint import ContextSettings, DeviceBuffers, Footprint
from hakaru.models.quant_types import BY_ID, BY_NAME

Progress = Callable[[int, int], None]
LAB_PACKAGE: Final = "llama-cpp-python"


def no_progress(done: int, total: int) -> None:
    """For calls that nobody watches."""


def lab_build() -> str:
    """The lab's package and version, such as `llama-cpp-python 0.3.36`. Raises EngineMissing."""
    try:
        return f"{LAB_PACKAGE} {metadata.version(LAB_PACKAGE)}"
    except metadata.PackageNotFoundError as error:
        raise EngineMissing("llama.cpp is not installed: run make, or: pip install {package}.", package=LAB_PACKAGE) from error


class Lab:
    """llama.cpp for loading, dry runs, quantizing and comparing. Values in, values out; one child per call."""

    def dry_run(self, path: Path, settings: ContextSettings) -> Footprint:
        """What llama.cpp itself would allocate: weights, KV cache and compute to the byte, output to 0.01 MiB (from its
        log).
        """
        result = self._call(
            "dry_run",
            {
                "path": str(path),
                "context": {
                    "n_ctx": settings.n_ctx,
                    "n_ubatch": settings.n_ubatch,
                    "n_outputs_max": settings.n_outputs,
                    "n_seq_max": settings.n_parallel,
                    "type_k": BY_NAME[settings.type_k.upper()].id,
                    "type_v": BY_NAME[settings.type_v.upper()].id,
                    "kv_unified": settings.kv_unified,
                },
            },
        )
        return Footprint(
            weights_bytes=result["weights_bytes"],
            kv_cache_bytes=result["kv_cache_bytes"],
            compute_bytes=result["compute_bytes"],
            output_bytes=result["output_bytes"],
            source="dry_run",
            accelerators=_accelerators(result["devices"]),
        )

    def quantized_types(self, path: Path, ftypes: Sequence[int]) -> list[dict[str, str]]:
        """For each ftype the type that llama.cpp's quantizer would give each tensor; nothing is written."""
        plans: list[dict[str, str]] = self._call("plan", {"path": str(path), "ftypes": list(ftypes)})["plans"]
        return plans

    def quantize(self, path: Path, out: Path, ftype: int, *, progress: Progress = no_progress) -> None:
        """Write `path` quantized to `out`."""

        def on_line(line: str) -> None:
            if line.startswith("[") and "]" in line:
                done, _, total = line[1 : line.index("]")].partition("/")
                if done.strip().isdigit() and total.strip().isdigit():
                    progress(int(done), int(total))

        self._call("quantize", {"path": str(path), "out": str(out), "ftype": ftype}, on_line=on_line)

    def write_tensors(
        self,
        jobs: Sequence[TensorJob],
        *,
        sources: Sequence[Path],
        targets: Sequence[Path],
        importance: Path | None = None,
        progress: Progress = no_progress,
    ) -> None:
        """Write tensors of `sources` into the existing files `targets`, each by its job. Progress counts the jobs that are whole
        and on the disk, from the first.

        Raises ModelDamaged for weights that are not finite, Misuse for those too large for their type, and OSError.
        """
        request = {
            "path": str(sources[0]),
            "sources": [str(p) for p in sources],
            "targets": [str(p) for p in targets],
            "importance": str(importance) if importance else None,
            "jobs": [job.as_json() for job in jobs],
        }
        result = self._call("write_tensors", request, progress=progress)
        if "not_finite" in result:
            raise ModelDamaged(
                "{path}: tensor {name} holds weights that are not finite numbers; nothing was kept: fetch the file again.",
                path=sources[0], name=result["not_finite"],
            )  # fmt: skip
        if "too_large" in result:
            raise Misuse(
                "{path}: tensor {name} holds weights that are too large for the type {type}; nothing was kept: choose another type.",
                path=sources[0], name=result["too_large"],
                type=next(BY_ID[job.wanted_id].name for job in jobs if job.name == result["too_large"]),
            )  # fmt: skip
        if "errno" in result:
            raise OSError(result["errno"], os.strerror(result["errno"]))

    def tokenize(self, path: Path, texts: Sequence[str]) -> tuple[list[list[int]], list[int]]:
        """Token ids of each text without its opening, and the opening: the tokens that every text begins with for this
        model.
        """
        result = self._call("tokenize", {"path": str(path), "texts": list(texts)})
        return result["tokens"], result["opening"]

    def answer(
        self, path: Path, prompts: Sequence[str], *, n_predict: int, seed: int, progress: Progress = no_progress
    ) -> list[dict[str, Any]]:
        """The model's own answers: `{"tokens": prompt and answer, "n_prompt": how many are the prompt}` each."""
        request = {"path": str(path), "prompts": list(prompts), "n_predict": n_predict, "seed": seed}
        answers: list[dict[str, Any]] = self._call("answer", request, progress=progress)["answers"]
        return answers

    def compare(
        self, reference: Path, candidates: Sequence[Path], windows: Sequence[dict[str, Any]], *, progress: Progress = no_progress
    ) -> list[list[dict[str, float]]]:
        """For each candidate the sums per window (see `distributions.divergence`), all on the same windows."""
        request = {"reference": str(reference), "candidates": [str(p) for p in candidates], "windows": list(windows)}
        results: list[list[dict[str, float]]] = self._call("compare", request, progress=progress)["candidates"]
        return results

    def _call(
        self,
        operation: str,
        request: dict[str, Any],
        *,
        progress: Progress = no_progress,
        on_line: Callable[[str], None] | None = None,
    ) -> dict[str, Any]:
        lab_build()
        path = request.get("path", request.get("reference"))
        with _Child(on_line) as child:
            for reply in child.replies({"operation": operation, **request}):
                if "progress" in reply:
                    progress(*reply["progress"])
                elif "result" in reply:
                    result: dict[str, Any] = reply["result"]
                    return result
                elif "damaged" in reply:
                    raise ModelDamaged(
                        "{path}: gives logits that are not numbers, so its tensor data is damaged; fetch the file again.",
                        path=reply["damaged"],
                    )
                else:
                    raise _refused(reply["refused"], path, child.finish())
            log = child.finish()
            raise EngineDied(
                "the engine's process ended ({how}) during '{operation}' of {path}; its last words: {last}",
                log=log,
                how=how_it_ended(child.process.returncode),
                operation=operation,
                path=path,
                last=last_words(log),
            )


class _Child:
    """One child process. Leaving the block ends it, however the block is left."""

    def __init__(self, on_line: Callable[[str], None] | None) -> None:
        self._on_line = on_line
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
            env=os.environ | CHILD_ENVIRONMENT,
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
            if self._on_line:
                self._on_line(line)


def _accelerators(buffers: dict[str, dict[str, int]]) -> tuple[DeviceBuffers, ...]:
    """The buffers that are not host memory and hold something, in the order of their numbers."""
    found = [(name, parts) for name, parts in buffers.items() if not is_host(name)]
    return tuple(
        DeviceBuffers(name=name, weights_bytes=parts["model"], kv_cache_bytes=parts["context"], compute_bytes=parts["compute"])
        for name, parts in sorted(found, key=lambda item: [int(t) if t.isdigit() else t for t in re.split(r"(\d+)", item[0])])
        if any(parts.values())
    )


def _refused(step: str, path: object, log: list[str]) -> HakaruError:
    """The error for what llama.cpp refused, with the reason from its log; an unknown architecture is the model's matter."""
    told = [line.strip() for word in ("error", "failed", "unknown") for line in log if word in line.lower()]
    reason = next(iter([*told, *log]), "-")
    if any("unknown model architecture" in line for line in told):
        return ModelUnknown(
            "{path}: neither hakaru nor this build of llama.cpp knows the model's architecture ({reason}); "
            "update hakaru or choose another model.",
            path=path,
            reason=reason,
        )
    if step == "load":
        return ModelDamaged(
            "{path}: llama.cpp cannot load it ({reason}); fetch the file again or choose another model.", path=path, reason=reason
        )
    return EngineRefused("llama.cpp refused to {step} {path}: {reason}", step=step, path=path, reason=reason)
