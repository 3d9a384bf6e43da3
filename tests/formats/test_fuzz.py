"""Damaged headers of every kind: only typed errors, in bounded time and memory.

Hypothesis changes valid headers as a stranger would: bytes flipped, cut out, put in, numbers
replaced by those that break readers. The worst cases that were thought of are built on purpose and
read in a child with little memory.
"""

import json
import struct
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hakaru.errors import HakaruError
from hakaru.formats.gguf import read_header
from hakaru.formats.header_cursor import MAX_HEADER
from hakaru.formats.safetensors import read_stored
from hakaru.models.model import read_model
from hakaru.testing import tiny_shape, write_header_only

NUMBERS = (
    0,
    1,
    2,
    7,
    255,
    2**15,
    2**16,
    2**31 - 1,
    2**31,
    2**32 - 1,
    2**32,
    2**48,
    2**60,
    2**62,
    2**63 - 1,
    2**63,
    2**64 - 1,
)
MEMORY_PER_BYTE, MEMORY = 200, 16 * 2**20
SECONDS = 2.0


@st.composite
def damaged(draw: st.DrawFn, whole: bytes) -> bytes:
    """`whole` after one to six accidents."""
    content = bytearray(whole)
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, max(0, len(content) - 1)))
        match draw(st.sampled_from(("flip", "cut", "insert", "number", "end", "repeat"))):
            case "flip":
                content[at : at + 1] = bytes([draw(st.integers(0, 255))])
            case "cut":
                del content[at : at + draw(st.integers(1, 64))]
            case "insert":
                content[at:at] = draw(st.binary(min_size=1, max_size=32))
            case "number":
                width = draw(st.sampled_from((1, 2, 4, 8)))
                content[at : at + width] = (
                    draw(st.sampled_from(NUMBERS)) % 2 ** (8 * width)
                ).to_bytes(width, "little")
            case "end":
                del content[at:]
            case "repeat":
                content[at:at] = content[at : at + draw(st.integers(1, 256))]
    return bytes(content)


def read_bounded(path: Path, read: Callable[[Path], object]) -> None:
    """Read `path`, which may fail in our words only, within the bounds."""
    began, said = time.perf_counter(), ""
    tracemalloc.start()
    try:
        read(path)
    except HakaruError as error:
        said = str(error)
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert "\n" not in said
    assert peak < MEMORY + MEMORY_PER_BYTE * min(path.stat().st_size, MAX_HEADER)
    assert time.perf_counter() - began < SECONDS


@pytest.fixture(scope="module")
def gguf_header(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The header of a tiny model, without its hole."""
    path = write_header_only(
        tmp_path_factory.mktemp("fuzz") / "x.gguf", tiny_shape(n_vocab=300, n_layer=1)
    )
    return path.read_bytes()[: read_header(path).data_offset]


@settings(
    max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_a_damaged_gguf_header_is_a_typed_error(
    gguf_header: bytes, tmp_path: Path, data: st.DataObject
) -> None:
    """Or a model."""
    path = tmp_path / "x.gguf"
    with path.open("wb") as file:
        file.write(data.draw(damaged(gguf_header)))
        file.truncate(file.tell() + data.draw(st.sampled_from((0, 2**20, 2**34))))
    read_bounded(path, read_model)


STORED = json.dumps(
    {"__metadata__": {"format": "pt"}}
    | {
        f"layer.{i}.weight": {
            "dtype": "BF16",
            "shape": [4, 8],
            "data_offsets": [64 * i, 64 * i + 64],
        }
        for i in range(8)
    }
).encode()


@settings(
    max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_a_damaged_safetensors_header_is_a_typed_error(tmp_path: Path, data: st.DataObject) -> None:
    """Or a header."""
    raw = data.draw(damaged(STORED))
    length = data.draw(st.sampled_from((len(raw), *NUMBERS)))
    path = tmp_path / "x.safetensors"
    path.write_bytes(length.to_bytes(8, "little") + raw + bytes(512))
    read_bounded(path, read_stored)


def text(content: bytes) -> bytes:
    """A GGUF string."""
    return struct.pack("<Q", len(content)) + content


def opening(n_tensors: int, n_keys: int) -> bytes:
    """What a GGUF file begins with."""
    return b"GGUF" + struct.pack("<IQQ", 3, n_tensors, n_keys)


def tensor(name: bytes, offset: int, shape: tuple[int, ...] = (32,)) -> bytes:
    """A row of the tensor table, in F32."""
    return text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, 0, offset)


WORST: dict[str, tuple[bytes, int, str]] = {
    "2^60 tensors": (opening(2**60, 0), 2**20, "1152921504606846976 tensors"),
    "all tensors that are allowed, none there": (opening(2**18, 0), 2**34, "shape"),
    "a 127 MB array of numbers": (opening(1, 1) + text(b"a") + struct.pack("<IIQ", 9, 0,
        2**27 - 2**10), 2**30, "shape"),
    "an array of 2^60 numbers": (opening(1, 1) + text(b"a") + struct.pack("<IIQ", 9, 6, 2**60),
        2**34, "array elements"),
    "an array of 2^60 empty strings": (opening(1, 1) + text(b"a") + struct.pack("<IIQ", 9, 8,
        2**60), 2**34, "strings"),
    "as many empty strings as are allowed": (opening(1, 1) + text(b"a") + struct.pack("<IIQ", 9, 8,
        2**21 - 1), 2**34, "shape"),
    "a string of 2^63 bytes": (opening(0, 1) + struct.pack("<Q", 2**63), 2**34,
        "bytes in a string"),
    "an array of arrays": (opening(0, 1) + text(b"a") + struct.pack("<IIQ", 9, 9, 2**16) * 1000,
        2**20, "array of metadata type 9"),
    "an array longer than a header": (opening(0, 1) + text(b"a") + struct.pack("<IIQ", 9, 10,
        2**25), 2**34, "longer than"),
    "overlapping tensors": (opening(2, 0) + tensor(b"a", 0) + tensor(b"b", 64), 2**20,
        "begins at byte 64 of the data, expected 128"),
    "the same tensor twice": (opening(2, 0) + tensor(b"a", 0) + tensor(b"a", 128), 2**20,
        "stands twice"),
    "a tensor behind the end": (opening(1, 0) + tensor(b"a", 2**62), 2**20,
        "the download is incomplete"),
    "a tensor of 2^180 numbers": (opening(1, 0) + tensor(b"a", 0, (2**45,) * 4), 2**20,
        "the download is incomplete"),
}  # fmt: skip

CHILD = """
import resource, sys, time
from pathlib import Path
from hakaru.errors import HakaruError
from hakaru.formats.gguf import read_header
resource.setrlimit(resource.RLIMIT_AS, (2**30, 2**30))
for path in map(Path, sys.argv[1:]):
    began = time.process_time()
    try:
        said = read_header(path)
    except HakaruError as error:
        said = str(error)
    print(f"{time.process_time() - began:.3f} {said}")
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_the_worst_headers_that_we_could_think_of(tmp_path: Path) -> None:
    """Each is refused in our words within ten seconds of processor time, in a process that may have
    one GiB.
    """
    paths = [tmp_path / f"{i}.gguf" for i in range(len(WORST) + 1)]
    for path, (content, hole, _) in zip(paths, WORST.values(), strict=False):
        with path.open("wb") as file:
            file.write(content)
            file.truncate(len(content) + hole)
    with paths[-1].open("wb") as file:  # many long strings, each of them allowed
        file.write(opening(0, 2**16))
        for i in range(140):
            file.write(text(b"%d" % i) + struct.pack("<IQ", 8, 2**20))
            file.seek(2**20, 1)
        file.truncate(2**34)
    done = subprocess.run(
        [sys.executable, "-c", CHILD, *paths], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    *lines, peak_kib = done.stdout.splitlines()
    expected = {name: words for name, (_, _, words) in WORST.items()} | {
        "long strings": "longer than"
    }
    for line, (name, words) in zip(lines, expected.items(), strict=True):
        seconds, _, said = line.partition(" ")
        assert words in said, (name, said[:300])
        assert float(seconds) < 10, (name, seconds)
    assert int(peak_kib) < 800 * 1024
