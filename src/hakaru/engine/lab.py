"""The lab: the parent's half of llama.cpp in a child process. Values in, values out; one child per
call (see `call`).
"""

import os
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from hakaru.engine.builds import lab_build
from hakaru.engine.call import Progress, call, no_progress
from hakaru.engine.jobs import TensorJob
from hakaru.engine.log import is_host
from hakaru.engine.sampled_errors import imatrix_file
from hakaru.errors import Misuse, ModelDamaged
from hakaru.formats.quant_types import BY_ID, BY_NAME
from hakaru.memory.footprint import DeviceBuffers, Footprint
from hakaru.memory.settings import F16_CACHE, Cache, ContextSettings

if TYPE_CHECKING:  # it imports numpy, and a dry run needs none
    from hakaru.formats.imatrix import Imatrix

__all__ = ["Lab", "Probed", "Progress", "no_progress"]


class Probed(Struct, frozen=True, kw_only=True):
    """How far the model moved with each probe."""

    probes: list[list[dict[str, float]]]  # per probe and window, as `distributions.divergence`
    missing: frozenset[str]  # tensors that llama.cpp does not compute with (see `weights`)


class _EnoughError(Exception):
    """`enough` said that no further window is needed."""


class Lab:
    """llama.cpp for dry runs, writing tensors, reading and comparing; one child per call."""

    def __init__(self) -> None:
        self._dry_runs: dict[tuple[Path, int, ContextSettings, str], Footprint] = {}

    def dry_run(self, path: Path, settings: ContextSettings) -> Footprint:
        """What llama.cpp itself would allocate: weights, KV cache and compute to the byte, output
        to 0.01 MiB (from its log).

        Asked once for an unchanged file. With accelerators it is asked every time: how llama.cpp
        splits the layers over them depends on the memory that is free.
        """
        key = path, path.stat().st_mtime_ns, settings, lab_build()
        footprint = self._dry_runs.get(key) or _dry_run(path, settings)
        if not footprint.accelerators:
            self._dry_runs[key] = footprint
        return footprint

    def write_tensors(
        self,
        jobs: Sequence[TensorJob],
        *,
        sources: Sequence[Path],
        targets: Sequence[Path],
        importance: Path | None = None,
        progress: Progress = no_progress,
    ) -> None:
        """Write tensors of `sources` into the existing files `targets`, each by its job. Progress
        counts the jobs that are whole and on the disk, from the first.

        Raises ModelDamaged for weights that are not finite, Misuse for those too large for their
        type, and OSError.
        """
        request = {
            "path": str(sources[0]), "sources": [str(p) for p in sources],
            "targets": [str(p) for p in targets], "jobs": [job.as_json() for job in jobs],
            "importance": str(importance) if importance else None,
        }  # fmt: skip
        result = call("write_tensors", request, progress=progress)
        _refuse_weights(result, jobs, sources[0])
        if "errno" in result:
            raise OSError(result["errno"], os.strerror(result["errno"]))

    def tokenize(self, path: Path, texts: Sequence[str]) -> tuple[list[list[int]], list[int]]:
        """The token ids of each text, and the tokens that this model expects before every text."""
        result = call("tokenize", {"path": str(path), "texts": list(texts)})
        return result["tokens"], result["opening"]

    def answer(
        self,
        path: Path,
        prompts: Sequence[str],
        *,
        n_predict: int,
        seed: int,
        progress: Progress = no_progress,
    ) -> list[dict[str, Any]]:
        """The model's own answers, each `{"tokens": prompt and answer, "n_prompt": tokens of the
        prompt}`.
        """
        request = {
            "path": str(path),
            "prompts": list(prompts),
            "n_predict": n_predict,
            "seed": seed,
        }
        answers: list[dict[str, Any]] = call("answer", request, progress=progress)["answers"]
        return answers

    def compare(
        self,
        reference: Path,
        candidates: Sequence[Path],
        windows: Sequence[dict[str, Any]],
        *,
        alone: bool = False,
        cache: Cache = F16_CACHE,
        enough: Callable[[list[list[dict[str, Any]]]], bool] = lambda results: False,
        progress: Progress = no_progress,
    ) -> list[list[dict[str, Any]]]:
        """For each candidate and window, in order, the sums of `distributions.sums_of`, and as
        `klds` the KLD of every token.

        `cache`: the types of the candidates' KV cache, keys and values. `enough` sees all results
        after every batch; True ends the work. `alone`: the candidates read one window at a time.
        """
        results: list[list[dict[str, Any]]] = [[] for _ in candidates]

        def on_part(batch: list[list[dict[str, Any]]]) -> None:
            for result, rows in zip(results, batch, strict=True):
                result += rows
            if enough(results):
                raise _EnoughError

        request = {
            "reference": str(reference), "candidates": [str(p) for p in candidates],
            "windows": list(windows), "alone": alone,
            "type_k": BY_NAME[cache[0].upper()].id, "type_v": BY_NAME[cache[1].upper()].id,
        }  # fmt: skip
        with suppress(_EnoughError):
            call("compare", request, progress=progress, on_part=on_part)
        return results

    def importance(
        self,
        path: Path,
        windows: Sequence[dict[str, Any]],
        *,
        datasets: Sequence[str] = (),
        progress: Progress = no_progress,
    ) -> "Imatrix":
        """Importance of every column of every matrix, as the model reads the windows; `datasets`
        names their texts.
        """
        from hakaru.formats.imatrix import read_imatrix

        with TemporaryDirectory(prefix="hakaru-") as folder:
            out = Path(folder) / "imatrix.gguf"
            request = {"path": str(path), "windows": list(windows), "datasets": list(datasets)}
            call("importance", request | {"out": str(out)}, progress=progress)
            return read_imatrix(out)

    def probe(
        self,
        path: Path,
        probes: Sequence[Mapping[str, str]],
        windows: Sequence[dict[str, Any]],
        *,
        imatrix: "Imatrix | None" = None,
        reference_bytes: int = 2**30,
        kept: tuple[Path, Mapping[str, Mapping[str, str]]] | None = None,
        progress: Progress = no_progress,
    ) -> Probed:
        """How far the model moves with each probe, a set of tensors with their types, against the
        model in its file. No file is written: see `weights`.

        The logits of the model itself take up to `reference_bytes` of memory at a time. `kept`: a
        folder for quantized copies, and in it the name of the copy by tensor and type.
        """
        with imatrix_file(imatrix) as file:
            request = {
                "path": str(path), "probes": [dict(p) for p in probes], "windows": list(windows),
                "imatrix": file, "reference_bytes": reference_bytes,
                "kept": {"folder": str(kept[0]), "names": kept[1]} if kept else None,
            }  # fmt: skip
            result = call("probe", request, progress=progress)
        return Probed(probes=result["probes"], missing=frozenset(result["missing"]))


def _dry_run(path: Path, settings: ContextSettings) -> Footprint:
    result = call("dry_run", {"path": str(path), "context": settings.as_lab()})
    return Footprint(
        weights_bytes=result["weights_bytes"], kv_cache_bytes=result["kv_cache_bytes"],
        compute_bytes=result["compute_bytes"], output_bytes=result["output_bytes"],
        source="dry_run", accelerators=_accelerators(result["devices"]),
    )  # fmt: skip


def _refuse_weights(result: Mapping[str, Any], jobs: Sequence[TensorJob], path: Path) -> None:
    """Raises ModelDamaged or Misuse for weights that cannot be written."""
    if "not_finite" in result:
        raise ModelDamaged(
            "{path}: tensor {name} holds weights that are not finite numbers; nothing was "
            "kept: fetch the file again.",
            path=path,
            name=result["not_finite"],
        )
    if "too_large" in result:
        name = result["too_large"]
        raise Misuse(
            "{path}: tensor {name} holds weights that are too large for the type {type}; "
            "nothing was kept: choose another type.",
            path=path,
            name=name,
            type=next(BY_ID[job.wanted_id].name for job in jobs if job.name == name),
        )


def _accelerators(buffers: dict[str, dict[str, int]]) -> tuple[DeviceBuffers, ...]:
    """The buffers that hold something and lie on an accelerator, by its number: CUDA2 before
    CUDA10.
    """
    on_accelerators = [(name, parts) for name, parts in buffers.items() if not is_host(name)]
    return tuple(
        DeviceBuffers(
            name=name,
            weights_bytes=parts["model"],
            kv_cache_bytes=parts["context"],
            compute_bytes=parts["compute"],
        )
        for name, parts in sorted(
            on_accelerators,
            key=lambda item: [int(t) if t.isdigit() else t for t in re.split(r"(\d+)", item[0])],
        )
        if any(parts.values())
    )
