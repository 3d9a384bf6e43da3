"""Fuzz the readers of GGUF and safetensors headers with atheris, which looks for new ways through
the code.

    pip install atheris
    python scripts/fuzz_reader.py gguf -max_total_time=120
    python scripts/fuzz_reader.py safetensors -max_total_time=120

Anything but a HakaruError or a header is a finding: the input is written to crash-*. atheris is no
dependency of ours.
"""

import struct
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["hakaru.formats", "hakaru.models", "json"]):
    from hakaru.errors import HakaruError
    from hakaru.formats.gguf import parse_header
    from hakaru.formats.safetensors import parse_stored

HOLE = 2**16  # zeros behind every header, so that the check of the layout is reached


def reads(parse: Callable[..., object]) -> Callable[[bytes], None]:
    """The function that atheris calls: the input, then a hole."""

    def one(content: bytes) -> None:
        at = 0

        def read(n: int) -> bytes:
            nonlocal at
            piece = content[at : at + n] or bytes(min(n, size - at, 2**12))
            at += len(piece)
            return piece

        for size in (len(content), len(content) + HOLE):
            at = 0
            try:
                parse("fuzzed", size=size, read=read)
            except HakaruError as error:
                str(error)

    return one


def seeds(kind: str) -> list[bytes]:
    """Small valid files to begin with."""
    name = struct.pack("<Q", 1) + b"a"
    if kind == "safetensors":
        raw = b'{"__metadata__":{"a":"b"},"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}}'
        return [len(raw).to_bytes(8, "little") + raw, (2).to_bytes(8, "little") + b"{}"]
    opening = b"GGUF" + struct.pack("<IQQ", 3, 1, 3)
    keys = (
        name
        + struct.pack("<IQ", 8, 1)
        + b"b"
        + b"".join(
            struct.pack("<Q", 1) + key + struct.pack("<IIQ", 9, kind_, 2) + rest
            for key, kind_, rest in ((b"c", 8, name * 2), (b"d", 4, bytes(8)))
        )
    )
    return [opening + keys + name + struct.pack("<IQQIQ", 2, 32, 2, 8, 0)]


def main() -> None:
    """Fuzz the reader that the first argument names; the others are libFuzzer's."""
    kind = sys.argv.pop(1) if len(sys.argv) > 1 else "gguf"
    if kind not in {"gguf", "safetensors"}:
        raise SystemExit(__doc__)
    with tempfile.TemporaryDirectory() as folder:
        for i, seed in enumerate(seeds(kind)):
            (Path(folder) / str(i)).write_bytes(seed)
        atheris.Setup(
            [*sys.argv, "-max_len=4096", folder],
            reads(parse_header if kind == "gguf" else parse_stored),
        )
        atheris.Fuzz()


if __name__ == "__main__":
    main()
