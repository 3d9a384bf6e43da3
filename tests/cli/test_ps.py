"""`hakaru ps`, `stop` and `logs`: records of processes that stand for servers."""

import json
import subprocess
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import psutil
import pytest
from msgspec.structs import replace

from hakaru.cli import run
from hakaru.hardware.accelerators import GpuUser
from hakaru.servers import Deployment, running
from hakaru.servers.asking import client_of
from hakaru.serving.log_file import LogFile

HEALTH = {"status": "ready", "restarts": 0, "answering": 2, "waiting": 3, "idle_s": None}
Start = Callable[..., Deployment]


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Start a process that stands for a server of `model`."""
    processes = []
    monkeypatch.setattr("hakaru.servers.holding._told", lambda server: HEALTH)

    def started(model: str, port: int) -> Deployment:
        process = subprocess.Popen(["sleep", "60"])
        processes.append(process)
        server = Deployment(
            pid=process.pid, started=psutil.Process(process.pid).create_time(), port=port,
            model=model, path=f"/{model}.gguf", settings={"n_ctx": 4096, "n_parallel": 2},
            engine=process.pid,
        )  # fmt: skip
        server.announce()
        return server

    yield started
    for process in processes:
        process.kill()
        process.wait()


def test_who_holds_what(
    start: Start, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The engine's memory by device, what it does, and the others on the GPU."""
    server = start("qwen3-4b-Q4_K_M", 8600)
    users = [
        GpuUser(device="RTX 4090", number=1, pid=pid, bytes=n_bytes)
        for pid, n_bytes in ((server.pid, 3 * 2**30), (1, 2**30), (2**22 + 1, None))
    ]
    monkeypatch.setattr("hakaru.servers.holding.nvidia_users", lambda: users)
    assert run(["ps"]) == 0
    told = capsys.readouterr().out
    row = next(line for line in told.splitlines() if "qwen3-4b" in line).split()
    assert row[:4] == ["qwen3-4b-Q4_K_M", "8600", str(server.pid), "ready"]
    assert " 3,072.0 MiB " in told or " 3.0 GiB " in told
    assert " 2/2 +3 " in told and "1: RTX 4090" in told
    assert run(["ps", "--json"]) == 0
    told_json = json.loads(capsys.readouterr().out)
    (mine,) = told_json["servers"]
    ram, gpu = mine["memory"]
    assert (mine["n_ctx"], mine["n_slots"], mine["engine_pids"]) == (4096, 2, [server.pid])
    assert 0 < ram["bytes"] < 10**8 and gpu == {
        "device": "RTX 4090",
        "number": 1,
        "bytes": 3 * 2**30,
    }
    assert [other["pid"] for other in told_json["others"]] == [1, 2**22 + 1]
    assert told_json["others"][0]["name"] and told_json["others"][1]["name"] is None


def test_where_nothing_runs(capsys: pytest.CaptureFixture[str]) -> None:
    """`ps` says so; to stop something is exit code 4."""
    assert run(["ps"]) == 0
    assert "No server of hakaru's runs" in capsys.readouterr().out
    assert [run(["stop", "x"]), run(["stop", "--all"]), run(["logs", "x"])] == [4, 4, 4]
    assert run(["stop"]) == run(["stop", "x", "--all"]) == 2


@pytest.mark.parametrize("word", ["small", "SMALL", "8601", "/small.gguf", "small.gguf"])
def test_a_server_is_stopped_by_its_name_or_port(
    start: Start, word: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """And no other one; the command returns when the process is gone."""
    start("large", 8600)
    server = start("small", 8601)
    assert run(["stop", word]) == 0
    assert not server.is_alive and [s.model for s in running()] == ["large"]
    assert "Stopped: small, port 8601." in capsys.readouterr().out


def test_a_dead_process_that_nobody_looks_after_is_gone(start: Start) -> None:
    """A zombie: who started the server has not asked for its exit status, as in a container without
    an init. `stop` returns all the same, and `ps` does not list it.
    """
    with subprocess.Popen(
        ["sh", "-c", "sleep 60 & echo $!; exec sleep 60"], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout
        pid = int(parent.stdout.readline())
        started = psutil.Process(pid).create_time()
        replace(start("small", 8600), pid=pid, started=started).announce()
        assert run(["stop", "small"]) == 0
        assert psutil.Process(pid).status() == psutil.STATUS_ZOMBIE and running() == []
        parent.kill()


@pytest.mark.parametrize("proxy", ["http://127.0.0.1:1", "socks5://127.0.0.1:1"])
def test_no_proxy_hears_what_a_server_is_asked(proxy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the environment names: a prompt would reach another machine, and so would a key."""
    for variable in ("http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(variable, proxy)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    heard = list[str]()

    class Listens(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            heard.append(f"{self.path} {self.headers['authorization']}")
            self.send_response(204)
            self.end_headers()

    with HTTPServer(("127.0.0.1", 0), Listens) as listening:
        threading.Thread(target=listening.handle_request, daemon=True).start()
        server = Deployment(
            pid=1, started=0, port=listening.server_port, model="m", path="/m.gguf", settings={},
            key="our-key",
        )  # fmt: skip
        with client_of(server, within_s=10) as client:
            assert client.get("props").status_code == 204
    assert heard == ["/v1/props Bearer our-key"]


def test_the_nearest_names_are_told(start: Start, capsys: pytest.CaptureFixture[str]) -> None:
    """Of a name that is mistyped; where two servers have a name, their ports."""
    start("qwen3-4b", 8600)
    start("gemma-3-1b", 8601)
    assert run(["stop", "qwen3-4"]) == 4
    assert "the nearest are qwen3-4b." in capsys.readouterr().err
    start("qwen3-4b", 8602)
    assert run(["stop", "qwen3-4b"]) == 4
    assert "8600, 8602" in capsys.readouterr().err
    assert len(running()) == 3
    assert run(["stop", "--all"]) == 0 and running() == []


def test_logs_are_shown_also_after_the_end(
    start: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the name while the server runs, by the port afterwards."""
    start("small", 8600)
    log = LogFile(8600)
    log.gateway("began")
    log.engine("\x1b[2Jworked")
    assert run(["logs", "small", "-n", "1"]) == 0
    assert capsys.readouterr().out.endswith(" engine: ?[2Jworked\n")
    assert run(["stop", "small"]) == 0
    log.close()
    capsys.readouterr()
    assert run(["logs", "8600", "--follow"]) == 0
    told = capsys.readouterr()
    assert told.out.count("\n") == 3 and "has ended" in told.err
    assert run(["logs", "8601"]) == 4
