"""Ctrl-C and SIGTERM, whatever a command waits for: it is gone in a moment, says so by its exit
code, and leaves nothing behind.
"""

import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path

import httpx
import psutil
import pytest

from hakaru.ledger import Ledger
from hakaru.places import one_at_a_time
from hakaru.testing import write_tiny_llama
from ports import free_port
from queued import Queued

pytestmark = [pytest.mark.engine, pytest.mark.alone]
LIMIT_S = 1.0
ENDLESS = "{% for m in range(100000000) %}{% endfor %}x"
SIGNALS = pytest.mark.parametrize(
    "number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name
)


@pytest.fixture
def endless(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model that never finishes loading: its chat template keeps the engine in C code, as a slow
    disk does.
    """
    monkeypatch.setattr("hakaru.testing.CHATML", ENDLESS)
    return write_tiny_llama(tmp_path / "endless.gguf")


def _seen(what: Callable[[], object]) -> bool:
    """Whether `what` is seen; a child that is just ending is looked at again."""
    with suppress(psutil.NoSuchProcess):
        return bool(what())
    return False


def _runs(process: psutil.Process) -> bool:
    """Whether a process still runs; one that nobody has reaped does not."""
    return process.status() != psutil.STATUS_ZOMBIE


class Command:
    """One command in a process of its own. It is ended however the test ends."""

    def __init__(self, *arguments: str | Path) -> None:
        command = [sys.executable, "-m", "hakaru", *(str(a) for a in arguments)]
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> "Command":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()

    def children(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def wait_for(self, what: Callable[[], object]) -> None:
        deadline = time.monotonic() + 30
        while not _seen(what):
            assert self.process.poll() is None, self.process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def ended_by(self, number: signal.Signals) -> tuple[int, str]:
        """Exit code and stderr. It was fast, but for waiting until other programs left it a
        processor, without a traceback, and no child outlived it.
        """
        children = self.children()
        pids = (os.getpid(), self.process.pid, *(child.pid for child in children))
        with Queued(pids) as queued:
            began = time.monotonic()
            self.process.send_signal(number)
            _, err = self.process.communicate(timeout=60)
            took = time.monotonic() - began
        assert took - queued.seconds < LIMIT_S, f"{took:.2f} s, {queued.seconds:.2f} queued; {err}"
        assert "Traceback" not in err and "Exception ignored" not in err, err
        _, alive = psutil.wait_procs(children, timeout=LIMIT_S)
        assert not [child for child in alive if _seen(partial(_runs, child))]
        return self.process.returncode, err


@SIGNALS
@pytest.mark.parametrize(
    "command", [("serve",), ("chat", "-p", "x")], ids=lambda command: command[0]
)
def test_while_a_model_loads(
    endless: Path, tmp_path: Path, command: tuple[str, ...], number: signal.Signals
) -> None:
    """The engine is in C code and hears nothing: it is ended. The exit code says that nobody was
    served.
    """
    with Command(
        command[0],
        endless,
        *command[1:],
        "--port",
        "1" if command[0] == "chat" else str(free_port()),
    ) as started:
        started.wait_for(
            lambda: any("server_child" in " ".join(c.cmdline()) for c in started.children())
        )
        time.sleep(0.3)
        code, err = started.ended_by(number)
    assert code == 130
    assert ("nothing was served" in err) == (command[0] == "serve")
    assert not list(tmp_path.rglob("engine-*"))


def test_a_second_ctrl_c_is_silent_too(endless: Path) -> None:
    """Whenever it comes: while the first one is being answered, or told, or when Python itself
    ends.
    """
    for pause in (0.0, 0.01, 0.03, 0.06, 0.1):
        with Command("serve", endless, "--port", str(free_port())) as started:
            started.wait_for(started.children)
            started.process.send_signal(signal.SIGINT)
            time.sleep(pause)
            code, _ = started.ended_by(signal.SIGINT)
            assert code == 130


@SIGNALS
def test_an_engine_that_was_stopped_does_not_hold_anybody(
    tiny: Path, number: signal.Signals
) -> None:
    """SIGSTOP, a debugger, a driver that hangs: the process cannot answer, and is ended. It had
    served, so that is done.
    """
    with Command("serve", tiny, "--context", "256", "--port", str(free_port())) as started:
        assert started.process.stdout
        assert "answers at" in started.process.stdout.readline()
        for child in started.children():
            child.suspend()
        assert started.ended_by(number)[0] == 0


@SIGNALS
def test_while_answers_are_on_their_way(embedded: Path, number: signal.Signals) -> None:
    """Every client hears why its answer ends: a stream by an error event, the others by a 503.
    Nobody waits for the last token, but where SIGTERM may drain (`serving/test_steady.py`).
    """
    port = free_port()
    how = "--context", "2048", "--parallel", "2", "--drain", "0", "--port", str(port)
    with Command("serve", embedded, *how) as started:
        assert started.process.stdout
        assert "answers at" in started.process.stdout.readline()
        body = {
            "messages": [{"role": "user", "content": "Count."}],
            "max_tokens": 900,
            "ignore_eos": True,
        }
        with (
            httpx.Client(base_url=f"http://127.0.0.1:{port}/v1", timeout=60) as client,
            ThreadPoolExecutor(1) as pool,
        ):
            whole = pool.submit(client.post, "/chat/completions", json=body)
            with client.stream("POST", "/chat/completions", json=body | {"stream": True}) as stream:
                lines = stream.iter_lines()
                if whole.running() and next(lines, ""):
                    assert started.ended_by(number)[0] == 0
                said = [line for line in lines if line.startswith("data: ")]
            assert json.loads(said[-1].removeprefix("data: "))["error"]["code"] == "server_stopped"
            assert (whole.result().status_code, whole.result().json()["error"]["code"]) == (
                503,
                "server_stopped",
            )


def test_while_the_lab_hangs(tiny: Path) -> None:
    """A dry run that gives no answer is a wait like any other."""
    with Command("fit", tiny) as started:
        started.wait_for(started.children)
        for child in started.children():
            child.suspend()
        time.sleep(0.2)
        assert started.ended_by(signal.SIGINT)[0] == 130


def test_where_ctrl_c_is_ignored_it_stays_ignored_and_sigterm_ends(tiny: Path) -> None:
    """As behind a shell's `&` and under nohup: a server is not ended by a Ctrl-C that is meant for
    another program.
    """
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        started = Command("serve", tiny, "--context", "256", "--port", str(free_port()))
    finally:
        signal.signal(signal.SIGINT, before)
    with started:
        assert started.process.stdout
        assert "answers at" in started.process.stdout.readline()
        os.kill(started.process.pid, signal.SIGINT)
        time.sleep(0.5)
        assert started.process.poll() is None
        assert started.ended_by(signal.SIGTERM)[0] == 0


@pytest.fixture
def silent() -> Iterator[str]:
    """A web server that takes connections and never says anything."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@SIGNALS
def test_while_a_remote_model_does_not_answer(silent: str, number: signal.Signals) -> None:
    """The header is waited for; nothing but the network is slow."""
    with Command("fit", f"{silent}/model.gguf") as started:
        time.sleep(1.5)
        assert started.ended_by(number)[0] == 130


@SIGNALS
def test_while_a_converter_works(tmp_path: Path, number: signal.Signals) -> None:
    """llama.cpp's converter takes minutes, in a process of its own; it ends, too, and no half file
    stays.
    """
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    converter = tmp_path / "convert.py"
    converter.write_text(
        "import sys, time\nopen(sys.argv[sys.argv.index('--outfile') + 1], "
        "'w').write('half')\ntime.sleep(600)\n"
    )
    with Command(
        "quantize", folder, "--type", "Q8_0", "--converter", converter, "-o", tmp_path / "q.gguf"
    ) as started:
        started.wait_for(
            lambda: any("convert.py" in " ".join(c.cmdline()) for c in started.children())
        )
        time.sleep(0.3)
        assert started.ended_by(number)[0] == 130
    assert not [p for p in tmp_path.rglob("*.gguf*") if p.is_file()]


def test_while_another_tunes_the_same_model(tiny: Path) -> None:
    """Two `up` of one model wait for each other."""
    with (
        one_at_a_time("tune-" + Ledger().sha256(tiny)[:12]),
        Command("tune", tiny, "--context", "256") as started,
    ):
        time.sleep(2.5)
        assert started.ended_by(signal.SIGINT)[0] == 130


def test_while_another_writes_the_ledger(tiny: Path) -> None:
    """The database is waited for, not slept on."""
    ledger = Ledger()
    writer = sqlite3.connect(ledger.path, isolation_level=None)
    writer.execute("BEGIN EXCLUSIVE")
    try:
        with Command("fit", tiny, "--source", "computed") as started:
            time.sleep(2)
            assert started.ended_by(signal.SIGINT)[0] == 130
    finally:
        writer.close()


@pytest.mark.parametrize("moment", [0.4, 0.9, 1.7, 3.1])
@pytest.mark.parametrize(
    "arguments",
    [
        ("up", "--context", "256"),
        ("test", "--context", "512", "--full-speed", "--tasks", "ours"),
        ("quantize", "--bpw", "8", "-o", "OUT"),
    ],
    ids=lambda arguments: arguments[0],
)
def test_at_any_moment(
    tiny: Path, tmp_path: Path, arguments: tuple[str, ...], moment: float
) -> None:
    """Every stage is hit by one moment or another: dry runs, windows, races, speeds, writing. Done
    before is fine, too.
    """
    out = tmp_path / "q.gguf"
    command = [str(out) if a == "OUT" else a for a in arguments]
    number = signal.SIGINT if moment in (0.4, 1.7) else signal.SIGTERM
    with Command(command[0], tiny, *command[1:]) as started:
        time.sleep(moment)
        was_done = started.process.poll()
        code, err = started.ended_by(number) if was_done is None else (was_done, "")
        assert code in (
            {130} if was_done is None and "nothing half-done" in err else {0, 1, 130}
        ), err
    assert not [p for p in tmp_path.rglob("*.part") if "kept" not in err]
