"""Where hakaru keeps things."""

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from hakaru.engine.builds import OVERRIDE
from hakaru.engine.server import EngineServer
from hakaru.errors import MachineError
from hakaru.memory.settings import ContextSettings
from hakaru.places import LONGEST_RUN_DIR, run_dir, written_whole

LONGEST_SOCKET_PATH = 103  # bytes on macOS, sys/un.h; Linux takes 107, unix(7)
LISTENER = """
import http.server, socketserver, sys

class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()

    def log_message(self, *words):
        pass

print("n_slots = 1, n_ctx_slot = 256", file=sys.stderr, flush=True)
socketserver.UnixStreamServer(sys.argv[sys.argv.index("--host") + 1], Answer).serve_forever()
"""  # a program in the place of a `llama-server`, which listens at the same kind of socket


@pytest.fixture
def short() -> Iterator[Path]:
    """A folder under /tmp, whose path is shorter than that of `tmp_path`."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        yield Path(folder)


def run_dir_in(name: str, folder: Path, patch: pytest.MonkeyPatch) -> Path:
    """The folder of sockets where the environment variable `name` names `folder`, made here."""
    folder.mkdir(parents=True, exist_ok=True)
    patch.setenv(name, str(folder))
    patch.setattr("tempfile.tempdir", None)
    return run_dir()


@pytest.mark.parametrize("name", ["TMPDIR", "XDG_RUNTIME_DIR"])
def test_a_folder_that_is_too_deep_for_sockets_has_a_short_one_in_its_place(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same environment finds the same short folder again, another one another folder."""
    first = run_dir_in(name, tmp_path / ("d" * 100), monkeypatch)
    again = run_dir_in(name, tmp_path / ("d" * 100), monkeypatch)
    other = run_dir_in(name, tmp_path / ("e" * 100), monkeypatch)
    try:
        assert first == again != other
        assert first.parent == other.parent == Path("/tmp")
        assert first.stat().st_mode & 0o777 == other.stat().st_mode & 0o777 == 0o700
    finally:
        first.rmdir()
        other.rmdir()


@pytest.mark.parametrize("letter", ["d", "深"])
def test_the_longest_folder_that_stays_is_counted_in_bytes(
    letter: str, short: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A path of that many bytes is taken as it is, whatever alphabet it is written in."""
    room = LONGEST_RUN_DIR - len(os.fsencode(short)) - len("//hakaru")
    size = len(letter.encode())
    folder = short / (letter * (room // size) + "d" * (room % size))
    assert run_dir_in("XDG_RUNTIME_DIR", folder, monkeypatch) == folder / "hakaru"
    longer = folder.with_name(f"{folder.name}d")
    placed = run_dir_in("XDG_RUNTIME_DIR", longer, monkeypatch)
    assert placed != longer / "hakaru"
    placed.rmdir()


@pytest.mark.parametrize("n_more", [0, 1, 50])
def test_a_server_starts_however_deep_its_folder_lies(
    n_more: int, short: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the longest folder that is taken as it is, and in longer ones."""
    program, model = short / "llama-server", short / "model.gguf"
    program.write_text(f"#!{sys.executable}\n{LISTENER}")
    program.chmod(0o755)
    model.touch()
    monkeypatch.setenv(OVERRIDE, str(program))
    room = LONGEST_RUN_DIR - len(os.fsencode(short)) - len(f"//hakaru-{os.getuid()}")
    placed = run_dir_in("TMPDIR", short / ("d" * (room + n_more)), monkeypatch)
    with EngineServer(model, ContextSettings(n_ctx=256)) as server, server.client() as client:
        assert len(os.fsencode(server.socket)) <= LONGEST_SOCKET_PATH
        assert client.get("/health").status_code == 200
    placed.rmdir()


def test_a_folder_that_is_somebody_elses_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The name of the folder holds the number of the user, which anybody may write."""
    mine = run_dir()
    uid = os.getuid()
    monkeypatch.setattr("os.getuid", lambda: uid + 1)
    mine.rename(run_dir(make=False))
    with pytest.raises(MachineError, match="belongs to another user"):
        run_dir()


def test_a_system_without_a_temporary_folder_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A read-only container has none; that was told as an output that cannot be written."""
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: ["/proc/none"])
    with pytest.raises(MachineError, match="TMPDIR"):
        run_dir()


def test_a_folder_that_others_can_read_is_closed() -> None:
    """A folder from before, or made by hand, is made this user's alone."""
    run_dir().chmod(0o777)
    assert run_dir().stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("name", ["深" * 85, "d" * 255], ids=["深", "d"])
def test_a_name_may_be_as_long_as_the_system_takes(name: str, tmp_path: Path) -> None:
    """The part that is written first has a shorter name than the file."""
    with written_whole(tmp_path / name) as part:
        part.write_bytes(b"whole")
    assert (tmp_path / name).read_bytes() == b"whole"
