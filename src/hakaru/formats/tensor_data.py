"""The weights of a model as rows of bytes. The files are mapped into memory: a byte is read when it
is used.

`read_header` checks the tensor table against the file's size, so every row lies within its file.
Left out: the numbers that the bytes stand for (`engine/ggml.py`).
"""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from hakaru.formats.gguf import Tensor, read_header
from hakaru.formats.split import read_parts

Bytes = npt.NDArray[np.uint8]


class TensorData:
    """The tensors of the model at `path`, all its parts together. Raises what `read_parts`
    raises.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.tensors: dict[str, Tensor] = {}
        self._places: dict[str, tuple[Bytes, int]] = {}
        for part in read_parts(path)[0]:
            header = read_header(part)
            mapped = np.memmap(part, dtype=np.uint8, mode="r")
            for tensor in header.tensors:
                self.tensors[tensor.name] = tensor
                self._places[tensor.name] = mapped, header.data_offset + tensor.offset

    def rows(self, name: str) -> Bytes:
        """The tensor's bytes, shape (n_rows, bytes of a row): a view, not a copy."""
        tensor = self.tensors[name]
        mapped, begin = self._places[name]
        row_bytes = tensor.type.row_bytes(tensor.shape[0])
        return mapped[begin : begin + tensor.n_bytes].reshape(-1, row_bytes)
