"""Importances on their way to the engine: one file of plain F32 numbers, which the child reads
where it needs them.
"""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from hakaru.errors import Misuse
from hakaru.formats.gguf import Tensor

if TYPE_CHECKING:
    from hakaru.formats.imatrix import Imatrix  # it imports numpy, and a preset needs none


class Vectors(Struct, frozen=True, kw_only=True):
    """The importances of all tensors in one file."""

    path: Path | None  # None: there are no importances
    offsets: dict[str, int]  # tensor -> where its importances begin in the file
    digests: dict[str, str]  # tensor -> what identifies its importances


@contextmanager
def written_vectors(
    out: Path, imatrix: Mapping[str, Any] | None, needed: Mapping[str, int]
) -> Iterator[Vectors]:
    """Write the importances of the tensors in `needed` (name to how many numbers) to a hidden file
    beside `out`, which is removed when the block ends.

    Raises Misuse for importances that belong to another model or are no finite numbers from 0, and
    OSError.
    """
    if not imatrix:
        yield Vectors(path=None, offsets={}, digests={})
        return
    if needed and not needed.keys() & imatrix.keys():
        raise Misuse(
            "{path}: none of its tensors stands in the importance data, which belongs to another "
            "model.",
            path=out,
        )
    path = out.with_name(f".{out.name}.importance")
    offsets, digests = dict[str, int](), dict[str, str]()
    try:
        with path.open("wb") as file:
            for name in needed.keys() & imatrix.keys():
                raw = _checked(out, name, imatrix[name], needed[name])
                offsets[name], digests[name] = file.tell(), hashlib.sha256(raw).hexdigest()
                file.write(raw)
        yield Vectors(path=path, offsets=offsets, digests=dict(sorted(digests.items())))
    finally:
        path.unlink(missing_ok=True)


def vector_digest(imatrix: "Imatrix | None", tensor: Tensor) -> str | None:
    """What identifies the importances of one tensor, as in `Vectors.digests`; None where there are
    none.
    """
    import numpy as np

    vector = imatrix.importance(tensor) if imatrix else None
    return (
        None
        if vector is None
        else hashlib.sha256(np.ascontiguousarray(vector, dtype="<f4").tobytes()).hexdigest()
    )


def _checked(out: Path, name: str, values: Any, n: int) -> bytes:
    import numpy as np  # a preset needs none

    vector = np.ascontiguousarray(values, dtype="<f4").reshape(-1)
    if vector.size != n:
        raise Misuse(
            "{path}: the importance data of {name} has {found} numbers, expected {n}: it belongs "
            "to another model.",
            path=out,
            name=name,
            found=vector.size,
            n=n,
        )
    if not np.isfinite(vector).all() or (vector < 0).any():
        raise Misuse(
            "{path}: the importance data of {name} is damaged: not all numbers are finite and at "
            "least 0; collect it again.",
            path=out,
            name=name,
        )
    return vector.tobytes()
