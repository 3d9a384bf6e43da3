"""Quantizing tensors with ggml's own functions, piece by piece, on all cores: the child's half.

Every tensor's place in the target is known before, so a piece of rows is read, widened to F32,
quantized and written by one thread without a word to the others; ggml and the file calls release
Python's lock. Memory is a few MiB per thread, whatever the model's size. Pieces do not change the
result, because ggml quantizes row by row; llama.cpp's own quantizer cuts tensors into pieces, too.

Tensors are reported in the order of the request and only when their bytes are on the disk: a later
run goes on behind the last tensor that was reported. Source: llama.cpp, ggml/include/ggml.h
(ggml_quantize_chunk, ggml_get_type_traits).
"""

import ctypes
import errno
import math
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from functools import cache
from typing import Any, Final

from hakaru.engine.files import Steps
from hakaru.engine.jobs import TensorJob, pieces
from hakaru.engine.libllama import c
from hakaru.formats.quant_types import BY_ID, QuantType
from hakaru.hardware.threads import n_threads

SYNC_S: Final = 0.5  # the least time between two syncs to the disk
_F32: Final = 0


class Unfit(Exception):
    """The weights of the tensor `args[0]` are no finite numbers, or too large for the wanted type
    (`args[1]`).
    """


def write_tensors(request: dict[str, Any]) -> Steps:
    """Write every job of the request into the target files, which exist and have their size.

    Progress counts whole tensors on the disk. The result is empty, or names the tensor that is
    `not_finite` or `too_large`, or the `errno` of a file that cannot be read or written.
    """
    jobs = [TensorJob(**job) for job in request["jobs"]]
    try:
        yield from _written(jobs, request["sources"], request["targets"], request["importance"])
    except Unfit as unfit:
        return {unfit.args[1]: unfit.args[0]}
    except OSError as error:
        return {"errno": error.errno}
    return {}


def _written(
    jobs: Sequence[TensorJob],
    sources: Sequence[str],
    targets: Sequence[str],
    importance: str | None,
) -> Iterator[tuple[int, int]]:
    with ExitStack() as opened:

        def descriptor(path: str, mode: str) -> int:
            return opened.enter_context(open(path, mode, buffering=0)).fileno()

        read = [descriptor(path, "rb") for path in sources]
        written = [descriptor(path, "rb+") for path in targets]
        vectors = descriptor(importance, "rb") if importance else None
        work = _Work(jobs)
        threads = [
            threading.Thread(target=work.help, args=(_Hand(read, written, vectors),))
            for _ in range(n_threads())
        ]
        for thread in threads:
            thread.start()
        try:
            done = 0
            while done < len(jobs):
                done = work.wait(done)
                for target in written:
                    os.fsync(target)
                yield (done, len(jobs))
        finally:
            work.stop()
            for thread in threads:
                thread.join()


class _Work:
    """The pieces that are still to be done, and how many jobs are done, counted from the first."""

    def __init__(self, jobs: Sequence[TensorJob]) -> None:
        self._jobs = jobs
        self._pieces: Iterator[tuple[int, int, int]] = (
            (i, *piece) for i, job in enumerate(jobs) for piece in pieces(job)
        )
        self._open = [job.n_elements for job in jobs]  # weights of each job that are not written
        self._done = 0  # jobs that are done, all jobs before them, too
        self._failure: BaseException | None = None
        self._state = threading.Condition()

    def help(self, hand: "_Hand") -> None:
        """Do pieces until none is left or a thread fails."""
        while (piece := self._next()) is not None:
            i, first, n = piece
            try:
                hand.do(self._jobs[i], first, n)
            except Exception as failure:  # `wait` raises it in the main thread
                self._fail(failure)
                return
            with self._state:
                self._open[i] -= n
                while self._done < len(self._jobs) and not self._open[self._done]:
                    self._done += 1
                self._state.notify()

    def wait(self, done: int) -> int:
        """Wait until all jobs are done, or after SYNC_S more than `done` are. Returns how many are.
        Raises the exception of a thread that failed.
        """
        with self._state:
            self._state.wait_for(self._settled, SYNC_S)
            self._state.wait_for(lambda: self._settled() or self._done > done)
            if self._failure:
                raise self._failure
            return self._done

    def stop(self) -> None:
        """Hand out no further piece."""
        with self._state:
            self._pieces = iter(())

    def _settled(self) -> bool:
        return self._failure is not None or self._done == len(self._jobs)

    def _next(self) -> tuple[int, int, int] | None:
        with self._state:
            return next(self._pieces, None)

    def _fail(self, failure: BaseException) -> None:
        with self._state:
            self._pieces, self._failure = iter(()), failure
            self._state.notify()


class _Buffer:
    """Memory of a thread that grows to the largest piece: `view` for the file calls, `address` for
    ggml.
    """

    def __init__(self) -> None:
        self._held = ctypes.create_string_buffer(1)

    def of(self, n_bytes: int) -> "_Buffer":
        """This buffer with a view of `n_bytes`. Its contents are lost when it grows."""
        if len(self._held) < n_bytes:
            self._held = ctypes.create_string_buffer(n_bytes)
        self.view = memoryview(self._held).cast("B")[:n_bytes]
        self.address = ctypes.addressof(self._held)
        return self


class _Hand:
    """The work of one thread: the open files, and a buffer for each step of a piece."""

    def __init__(
        self, sources: Sequence[int], targets: Sequence[int], importance: int | None
    ) -> None:
        self._sources, self._targets, self._importance = sources, targets, importance
        self._raw, self._wide, self._made, self._vector = _Buffer(), _Buffer(), _Buffer(), _Buffer()

    def do(self, job: TensorJob, first: int, n: int) -> None:
        """One piece: read, widen, quantize, write. Raises Unfit and OSError."""
        stored, wanted = BY_ID[job.type_id], BY_ID[job.wanted_id]
        raw = self._raw.of(_n_bytes(stored, n))
        _read(self._sources[job.source], raw.view, job.at + _n_bytes(stored, first))
        made = (
            raw if stored is wanted else self._quantized(job, first, n, self._widened(job, raw, n))
        )
        if not c.ggml_validate_row_data(wanted.id, made.address, len(made.view)):
            raise Unfit(job.name, "not_finite" if stored is wanted else "too_large")
        _write(self._targets[job.target], made.view, job.to + _n_bytes(wanted, first))

    def _widened(self, job: TensorJob, raw: _Buffer, n: int) -> _Buffer:
        """The piece as F32."""
        wide = raw
        if job.type_id != _F32:
            wide = self._wide.of(4 * n)
            _to_float(job.type_id)(raw.address, wide.address, n)
        if not _is_finite(wide.address, n):
            raise Unfit(job.name, "not_finite")
        return wide

    def _quantized(self, job: TensorJob, first: int, n: int, wide: _Buffer) -> _Buffer:
        made, importances = self._made.of(_n_bytes(BY_ID[job.wanted_id], n)), None
        if job.importance_at is not None and self._importance is not None:
            vector = self._vector.of(4 * job.unit)
            _read(
                self._importance,
                vector.view,
                job.importance_at + first // job.per_vector * len(vector.view),
            )
            importances = vector.address
        c.ggml_quantize_chunk(
            job.wanted_id, wide.address, made.address, 0, n // job.unit, job.unit, importances
        )
        return made


def _n_bytes(type_: QuantType, n: int) -> int:
    return n // type_.block * type_.block_bytes


@cache
def _to_float(type_id: int) -> Any:
    """The function that widens a type. For F16 and BF16 that of ggml's CPU backend, if the build
    has one, is ten times as fast.
    """
    quick = {"F16": "ggml_cpu_fp16_to_fp32", "BF16": "ggml_cpu_bf16_to_fp32"}.get(
        BY_ID[type_id].name, ""
    )
    return getattr(c, quick, None) or c.ggml_get_type_traits(type_id).contents.to_float


def _is_finite(address: int, n: int) -> bool:
    """Whether all numbers are finite. A finite sum of squares proves it in a tenth of the time;
    without this proof every number is looked at.
    """
    if n < 2**31 and (dot := getattr(c, "ggml_vec_dot_f32", None)):
        total = ctypes.c_float()
        dot(n, ctypes.addressof(total), 0, address, 0, address, 0, 1)
        if math.isfinite(total.value):
            return True
    return bool(c.ggml_validate_row_data(_F32, address, 4 * n))


def _read(descriptor: int, into: memoryview, at: int) -> None:
    done = 0
    while done < len(into):
        n = os.preadv(descriptor, [into[done:]], at + done)
        if n == 0:
            raise OSError(errno.EIO, "the file became shorter while it was read")
        done += n


def _write(descriptor: int, data: memoryview, at: int) -> None:
    done = 0
    while done < len(data):
        done += os.pwrite(descriptor, data[done:], at + done)
