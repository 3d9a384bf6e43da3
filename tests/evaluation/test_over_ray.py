"""A real Ray cluster of two nodes on this machine: a race decides there as here, one node is lost
in the middle, and Ctrl-C is heard.

Two nodes on one machine are two of everything but the processor. What several machines add (their
network, another processor) is not tested here.
"""

import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import psutil
import pytest
from msgspec import Struct

from hakaru.evaluation.answers import ANSWERED_ON, KIND
from loopback import Loopback
from race_track import MODEL, short_tasks, with_real_models

pytestmark = pytest.mark.engine
pytest.importorskip("ray", reason="Ray is not installed: pip install 'hakaru[ray]'")
UP_WITHIN_S = 120.0
TASKS = 24
PLACES = ("XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME", "TMPDIR")
COMMAND = "import sys; from hakaru.cli import run; sys.exit(run(sys.argv[1:]))"


class Cluster(Struct):
    """Its address, and the process at the root of each node."""

    address: str
    head: subprocess.Popen[bytes]
    worker: subprocess.Popen[bytes]


def node(folder: str, *arguments: str) -> subprocess.Popen[bytes]:
    """A node of one processor, with all its processes in a group and its files in a folder of their
    own.
    """
    ray = Path(sys.executable).with_name("ray")
    process = subprocess.Popen(
        [ray, "start", *arguments, "--num-cpus=1", "--object-store-memory=100000000", "--block"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        env=os.environ | dict.fromkeys(PLACES, folder),
    )
    assert process.stdout
    assert any(b"Ray runtime started" in line for line in process.stdout)
    return process


def end(process: subprocess.Popen[bytes]) -> None:
    """End a node as a power cut would."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert process.stdout
    process.stdout.close()


def wait_for(holds: Callable[[], bool], *, within_s: float = UP_WITHIN_S) -> None:
    until = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.05)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]
    folder = tempfile.mkdtemp(prefix="ray-", dir="/tmp")  # sockets lie deep in it
    head = node(
        folder,
        "--head",
        f"--port={port}",
        f"--temp-dir={folder}",
        "--include-dashboard=false",
        "--disable-usage-stats",
        "--node-name=head",
    )
    nodes = [head]
    try:
        nodes.append(node(folder, f"--address=127.0.0.1:{port}", "--node-name=worker"))
        yield Cluster(f"127.0.0.1:{port}", *nodes)
    finally:
        for process in reversed(nodes):
            end(process)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def tasks(tmp_path: Path) -> Path:
    lines = [
        {
            "id": str(i),
            "prompt": f"What is {i} + 2?",
            "max_tokens": 24,
            "check": {"type": "contains", "answer": str(i + 2)},
        }
        for i in range(TASKS)
    ]
    file = tmp_path / "tasks.jsonl"
    file.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    return file


@pytest.fixture
def model(embedded: Path, tmp_path: Path) -> Path:
    """A name of its own, by which the engines of this test are known."""
    link = tmp_path / "embedded.gguf"
    link.symlink_to(embedded)
    return link


def started(model: Path, tasks: Path, *more: str) -> "subprocess.Popen[str]":
    command = ["test", str(model), "--tasks", str(tasks), "--no-speed", "--json", *more]
    return subprocess.Popen(
        [sys.executable, "-c", COMMAND, *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def rows(kind: str, column: str) -> list[str]:
    """That column of what the ledger has of a kind."""
    ledger = Path(os.environ["XDG_DATA_HOME"]) / "hakaru" / "ledger.sqlite"
    if not ledger.exists():
        return []
    with closing(sqlite3.connect(ledger)) as db, suppress(sqlite3.OperationalError):
        found = db.execute(f"SELECT {column} FROM measurements WHERE kind = ? ORDER BY at", (kind,))
        return [row[0] for row in found.fetchall()]
    return []


def n_answered() -> int:
    """Tasks that nodes answered."""
    return len(rows(ANSWERED_ON, "key"))


def engines(model: Path, below: int | None = None) -> list[psutil.Process]:
    """Engines that serve this file: on one node, or anywhere."""
    found = []
    everyone = psutil.Process(below).children(recursive=True) if below else psutil.process_iter()
    for process in everyone:
        with suppress(psutil.Error):
            told = " ".join(process.cmdline())
            if "hakaru.engine.server" in told and str(model) in told:
                found.append(process)
    return found


RACE = """
import sys
from hakaru.cli import run
from hakaru.evaluation.timing import Timing
from race_track import Engine
engine = Engine(smollm2_135m_instruct=(0, 20.0), noisy=(0, 40.0))  # speeds are those of one machine
Timing.trial = lambda self, *args, **named: engine.trial(*args)
Timing.deep = lambda self, *args: None
sys.exit(run(["choose", "--race", "--yes", "--memory", "260MiB", "--context", "1024", "--json",
              "--prompt-tokens", "32", "--tasks", *sys.argv[1:]]))
"""


def raced(hub: Loopback, tasks: Path, *more: str) -> str:
    """What a race prints."""
    done = subprocess.run(
        [sys.executable, "-c", RACE, str(tasks), *more],
        env=os.environ | {"HF_ENDPOINT": hub.url, "PYTHONPATH": str(Path(__file__).parents[1])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_race_over_both_nodes_decides_as_here(
    cluster: Cluster, hub: Loopback, tmp_path: Path, embedded: Path
) -> None:
    """The noisy racer is stopped there, and what was answered is all that a race here asks for."""
    with_real_models(hub, tmp_path, embedded)
    tasks = short_tasks(tmp_path / "short.jsonl")
    there = raced(hub, tasks, "--ray", cluster.address)
    racers = json.loads(there)["race"]["racers"]
    assert [(racer["model"], racer["stopped"]) for racer in racers] == [
        (MODEL, False),
        ("noisy", True),
    ]
    n_asked = n_answered()
    assert sum(racer["n"] for racer in racers) <= n_asked == len(rows(KIND, "key")) < 32
    assert raced(hub, tasks) == there
    assert len(rows(KIND, "key")) == n_asked


def test_a_node_that_is_lost_changes_nothing(
    cluster: Cluster, model: Path, tasks: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Interrupted by Ctrl-C, and gone on with while one of two nodes dies: no task is asked twice,
    the figures are those of this machine alone, and no engine stays behind.
    """
    with started(model, tasks, "--ray", cluster.address) as first:
        wait_for(lambda: n_answered() >= 3 and bool(engines(model)))
        first.send_signal(signal.SIGINT)
        told, said = first.communicate(timeout=60)
    assert first.returncode == 130, said
    assert engines(model) == []
    before = rows(ANSWERED_ON, "key")
    assert 3 <= len(before) < TASKS
    with started(model, tasks, "--ray", cluster.address) as second:
        wait_for(lambda: bool(engines(model, cluster.worker.pid)) and n_answered() > len(before))
        end(cluster.worker)
        told, said = second.communicate(timeout=240)
    assert second.returncode == 0, said
    assert "a job was lost and runs again with the" in said and "NodeDiedError" in said
    kept = rows(ANSWERED_ON, "key")
    assert kept[: len(before)] == before and len(kept) == len(set(kept)) == TASKS
    there = json.loads(told)["tasks"]
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "alone"))
    with started(model, tasks) as alone:
        here = json.loads(alone.communicate(timeout=240)[0])["tasks"]
    assert n_answered() == 0 and there == here
    assert len(here["items"]) == TASKS and here["accuracy"]["value"] > 0
    assert engines(model) == []
