"""An isolated engine sees its program, its model and its socket, and can tell nobody anything."""

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from hakaru.engine import bubblewrap, isolation
from hakaru.engine.builds import Build
from hakaru.engine.environment import told
from hakaru.engine.first_answer import give_first_answer
from hakaru.engine.isolation import Cell, cell_of, is_private, signal_told
from hakaru.engine.mode import Mode
from hakaru.engine.server import EngineServer, server_command
from hakaru.engine.speculation import Speculation
from hakaru.errors import MachineError
from hakaru.memory.settings import ContextSettings
from hakaru.servers import Deployment, engine_bytes

WHY_NOT = bubblewrap.why_no_bubblewrap(*isolation.PROCESSES)
needs_bubblewrap = pytest.mark.skipif(WHY_NOT is not None, reason=f"no isolation: {WHY_NOT}")
SETTINGS = ContextSettings(n_ctx=256)


def inside(cell: Cell, code: str) -> "subprocess.CompletedProcess[str]":
    """What Python code does in the cell."""
    python = os.path.realpath(sys.executable)
    command = cell.around([python, "-I", "-S", "-c", code])
    return subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)


@needs_bubblewrap
def test_a_cell_holds_its_files_and_one_folder(tmp_path: Path) -> None:
    """Of the folder of a model only the model; nothing can be written."""
    model, secret, folder = tmp_path / "m.gguf", tmp_path / "secret", tmp_path / "run"
    model.write_text("weights")
    secret.write_text("nobody knows")
    folder.mkdir()
    cell = Cell(readable=(model,), writable=folder)
    seen = inside(cell, f"import os; print(sorted(os.listdir({str(tmp_path)!r})))")
    assert seen.stdout.strip() == "['m.gguf', 'run']", seen.stderr
    assert inside(cell, f"print(open({str(model)!r}).read())").stdout.strip() == "weights"
    written = inside(cell, f"open({str(model)!r}, 'a').write('x')")
    assert "Read-only file system" in written.stderr
    kept = inside(cell, f"open({str(folder / 'kept')!r}, 'wb', buffering=0).write(b'x')")
    assert "File too large" in kept.stderr
    bound = f"import socket as s; s.socket(s.AF_UNIX).bind({str(folder / 's')!r})"
    assert inside(cell, bound).returncode == 0
    assert (folder / "s").is_socket()


@needs_bubblewrap
def test_a_cell_has_no_network_and_no_other_processes(tmp_path: Path) -> None:
    """Not even this machine's own addresses; of processes it sees bubblewrap's and its own."""
    cell = Cell(readable=(), writable=tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        called = inside(cell, f"import socket; socket.create_connection(('127.0.0.1', {port}), 2)")
    assert "Connection refused" in called.stderr
    seen = inside(cell, "import os; print([n for n in os.listdir('/proc') if n.isdigit()])")
    assert seen.stdout.strip() == "['1', '2']"
    assert "lo" in inside(cell, "print(open('/proc/net/dev').read())").stdout
    named = inside(cell, "import socket; print([n for _, n in socket.if_nameindex()])")
    assert named.stdout.strip() == "['lo']"


def build(folder: Path, **fields: Any) -> Build:
    """A person's `llama-server` in `folder`."""
    server = folder / "llama-server"
    server.write_text("#!/bin/sh\n")
    found: dict[str, Any] = {"backend": None, **fields}
    return Build(name="own", identity="own", version=None, library=None, server=server, **found)


def test_a_cell_has_every_part_of_a_model_and_the_draft(tmp_path: Path) -> None:
    """And of the folder of a person's program nothing but the program and libraries."""
    (tmp_path / "libllama.so.0").touch()
    (tmp_path / "diary.txt").touch()
    made = cell_of(
        build(tmp_path), Path("/m/a-00001-of-00002.gguf"), [Path("/d/draft.gguf")], folder=tmp_path
    )
    assert set(made.readable) == {
        tmp_path / "llama-server", tmp_path / "libllama.so.0", Path("/m/a-00001-of-00002.gguf"),
        Path("/m/a-00002-of-00002.gguf"), Path("/d/draft.gguf"),
    }  # fmt: skip
    draft = Speculation(means="draft", n_max=4, draft=Path("/d/draft.gguf"))
    assert Mode(speculation=draft).files == (Path("/d/draft.gguf"),)
    assert Mode().files == ()


def test_gpus_are_seen_by_the_builds_that_use_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their device files, and /sys; a build for the processor sees no device."""
    monkeypatch.setattr(isolation, "gpu_nodes", lambda: ["/dev/nvidia0", "/dev/nvidiactl"])
    cells = [
        cell_of(build(tmp_path, backend=backend), tmp_path / "m.gguf", (), folder=tmp_path)
        for backend in ("cuda", None, "cpu")
    ]
    cuda, unknown, cpu = (" ".join(cell.around(["x"])) for cell in cells)
    for words in (cuda, unknown):
        assert "--dev-bind /dev/nvidia0 /dev/nvidia0" in words
        assert "--ro-bind-try /sys /sys" in words
    assert "/dev" not in cpu.replace(str(tmp_path), "")


def test_an_isolated_engine_is_told_no_secrets() -> None:
    """Of the environment it gets what engines and drivers read."""
    environment = {"HF_TOKEN": "x", "OPENAI_API_KEY": "y", "GGML_NO_BACKTRACE": "1", "LANG": "C"}
    assert told(environment) == {"GGML_NO_BACKTRACE": "1", "LANG": "C"}


def test_bubblewrap_tells_signals_as_shells_do() -> None:
    """137 is signal 9; small codes are the program's own."""
    assert [signal_told(code) for code in (137, 134, 1, 0, -9)] == [-9, -6, 1, 0, -9]


@pytest.mark.parametrize(
    ("setting", "value", "words"),
    [
        ("kernel/apparmor_restrict_unprivileged_userns", "1", "AppArmor forbids user namespaces"),
        ("kernel/unprivileged_userns_clone", "0", "user namespaces are switched off"),
        ("user/max_user_namespaces", "0", "user namespaces are switched off"),
        ("kernel/other", "0", "the system refuses bubblewrap"),
    ],
)
def test_it_is_said_why_engines_cannot_be_isolated(
    setting: str, value: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once, in a sentence, where nobody asked for it; a refusal with the next step where somebody
    did.
    """
    monkeypatch.setattr("shutil.which", lambda name: "/usr/bin/bwrap")
    monkeypatch.setattr(bubblewrap, "_complaint", lambda options: "Permission denied")
    monkeypatch.setattr(bubblewrap, "_setting", {setting: value}.get)
    heard: list[str] = []
    assert not is_private(None, note=heard.append)
    assert len(heard) == 1
    assert f"not isolated here ({words} (Permission denied)): it could reach" in heard[0]
    with pytest.raises(MachineError, match=r"leave `private` out") as refused:
        is_private(True, note=heard.append)
    assert refused.value.exit_code == 1
    assert not is_private(False, note=heard.append)
    assert len(heard) == 1


def test_the_command_of_a_private_server_is_the_same_command_behind_bubblewrap(
    tiny: Path, tmp_path: Path
) -> None:
    """Nothing of how the model is served differs."""
    socket_ = tmp_path / "http.sock"
    bare = server_command(tiny, SETTINGS, socket=socket_)
    private = server_command(tiny, SETTINGS, socket=socket_, mode=Mode(private=True))
    assert private[-len(bare) :] == bare
    assert private[0].endswith("bwrap")


@needs_bubblewrap
@pytest.mark.engine
@pytest.mark.parametrize("kind", ["wheel", "native"])
def test_a_private_engine_answers_is_watched_and_dies_as_others_do(
    kind: str, tiny: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """Its memory and its death are the engine's, not bubblewrap's; nothing stays behind."""
    if kind == "native":
        kind = str(request.getfixturevalue("native_engine"))
    monkeypatch.setenv("HAKARU_ENGINE", kind)
    monkeypatch.setenv("A_SECRET", "of another program")
    with EngineServer(tiny, SETTINGS, Mode(private=True)) as server:
        give_first_answer(server)
        engine = psutil.Process(server.engine_pid)
        assert engine.pid != server.process.pid
        assert os.readlink(f"/proc/{engine.pid}/ns/net") != os.readlink("/proc/self/ns/net")
        assert "A_SECRET" not in engine.environ()
        assert (server.peak_rss_bytes() or 0) > 20 * 2**20  # bubblewrap has 2 MiB
        own = engine.memory_info()
        record = Deployment(
            pid=os.getpid(), started=0.0, port=1, model="m", path="m.gguf", settings={}
        )
        assert 0 <= engine_bytes(record) - (own.rss - own.shared) < 2**20
        server.kill()
        server.process.wait(timeout=5)
        assert "ended (signal 9)" in str(server.death())
        assert not engine.is_running()
    with EngineServer(tiny, SETTINGS, Mode(private=True)) as server:
        engine = psutil.Process(server.engine_pid)
    assert not engine.is_running()
    assert not server.socket.parent.exists()
