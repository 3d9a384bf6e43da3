"""What quantizing would change in the tensors of a file: the parent's half of
`quantization_errors`.
"""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from hakaru.engine.call import Progress, call, no_progress

if TYPE_CHECKING:  # it imports numpy, and a dry run needs none
    from hakaru.formats.imatrix import Imatrix


def sampled_errors(
    path: Path,
    types: Sequence[str],
    *,
    tensors: Collection[str],
    imatrix: "Imatrix | None" = None,
    n_rows: int = 64,
    n_weights: int = 2**16,
    seed: int = 0,
    progress: Progress = no_progress,
) -> dict[str, dict[str, tuple[float, float]]]:
    """For every tensor named, by type, the relative squared error and its standard error (0:
    all rows were taken).

    At least `n_rows` rows and `n_weights` weights are drawn of each, and more where few weights
    decide (see `engine.quantization_errors`). A type is left out where its blocks do not divide
    the rows, or where it needs importance and there is none. Raises ModelDamaged with the
    tensor's name for weights that are not numbers.
    """
    with imatrix_file(imatrix) as file:
        request = {
            "path": str(path), "types": list(types), "tensors": list(tensors), "imatrix": file,
            "n_rows": n_rows, "n_weights": n_weights, "seed": seed,
        }  # fmt: skip
        rows_by_tensor: dict[str, dict[str, list[float]]] = call(
            "quantization_errors", request, progress=progress
        )["errors"]
    return {
        name: {type_: (e, se) for type_, (e, se) in row.items()}
        for name, row in rows_by_tensor.items()
    }


@contextmanager
def imatrix_file(imatrix: "Imatrix | None") -> Iterator[str | None]:
    """The importance data as a file for the child."""
    if imatrix is None:
        yield None
        return
    from hakaru.formats.imatrix import write_imatrix

    with TemporaryDirectory(prefix="hakaru-") as folder:
        yield str(write_imatrix(Path(folder) / "imatrix.gguf", imatrix))
