"""A model over several machines: workers that are started, compared with the plan, and ended."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import psutil
import pytest

from hakaru.cli import run
from hakaru.clusters.cluster_file import read_cluster
from hakaru.engine.capi import PINNED
from hakaru.engine.rpc_worker import PROTOCOL, rpc_worker
from hakaru.errors import EngineMissing, MachineError, NodeError, NodeUnready, WorkerLost
from hakaru.places import log_dir
from hakaru.planning.fit import fit
from hakaru.serving.serve_at import Serving
from hakaru.serving.serve_cluster import serve_cluster
from hakaru.serving.workers import Workers, workers_of
from network_namespaces import two_machines
from ports import free_port, free_ports
from ssh_stand_in import SSH, program, ssh_that_stays_here, sshd

MIB = 2**20
_BUFFER = re.compile(r"RPC\d+\[(\S+)\] (model|KV|compute) buffer size = +([\d.]+) MiB")
SAYS = """#!/bin/sh
echo Welcome to the attic.
# What a worker says that is up; it ends with stdin, or does not care.
printf '{{\\n"version": "%s",\\n"protocol": "8.0.0",\\n"host": "127.0.0.1",' "{version}"
printf '\\n"port": {port},\\n"pid": %s\\n}}\\n' $$
{then}
"""


@pytest.fixture
def native(native_engine: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The engine that can use workers is the one that serves."""
    monkeypatch.setenv("HAKARU_ENGINE", str(native_engine))
    return native_engine


def cluster_file(folder: Path, *addresses: str, ssh: str = "", ports: tuple[int, ...] = ()) -> Path:
    """A file of a head and workers with RAM."""
    path = folder / "cluster.toml"
    sizes = ("16GiB RAM", "8GiB RAM", "4GiB RAM")
    nodes = [
        f'[[node]]\nname = "n{i - 1 if i else "head"}"\naddress = "{address}"\n'
        f'hardware = "{size}"\n'
        for i, (address, size) in enumerate(zip(addresses, sizes, strict=False))
    ]
    for i in range(1, len(nodes)):
        nodes[i] += f'ssh = "{ssh or f"n{i - 1}"}"\n'
        nodes[i] += f"port = {ports[i - 1]}\n" if ports else ""
    path.write_text("\n".join(nodes), encoding="utf-8")
    return path


def answer(serving: Serving) -> str:
    """A few tokens."""
    question = {"prompt": "The capital of France is", "max_tokens": 6, "temperature": 0}
    told = httpx.post(f"{serving.url}/completions", json=question, timeout=60).json()
    text: str = told["choices"][0]["text"]
    return text


def rpc_servers() -> list[psutil.Process]:
    """The workers below this process."""
    below = psutil.Process().children(recursive=True)
    return [p for p in below if "ggml-rpc-server" in p.name() or "ggml-rpc-server" in p.cmdline()]


@pytest.mark.engine
def test_two_machines_hold_what_the_plan_says_and_one_is_lost(
    native: Path, embedded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In two network namespaces: weights, KV cache and compute buffer of each worker to the digits
    of the log; a worker that is killed is named, and the other one is ended.
    """
    with two_machines(tmp_path / "bin", monkeypatch) as addresses:
        file = cluster_file(tmp_path, *addresses)
        plan = fit(embedded, cluster=file, source="computed", n_ctx=2048)
        killed = pytest.raises(WorkerLost, match=r"n1: the worker ended \(signal 9\)\. The model")
        with killed, serve_cluster(embedded, file, trust_network=True, n_ctx=2048) as serving:
            assert "Paris" in answer(serving)
            told = placed(log_dir() / f"serve-{serving.deployment.port}.log")
            second = next(p for p in rpc_servers() if addresses[2] in p.cmdline())
            second.kill()
            serving.wait()
        assert rpc_servers() == []
    shares = zip(addresses[1:], plan.placement.shares, strict=True)
    for address, share in shares:
        expected = [share.weights_bytes, share.kv_cache_bytes, share.compute_bytes]
        found = [told[f"{address}:50052"][part] for part in ("model", "KV", "compute")]
        assert found == pytest.approx([n / MIB for n in expected], abs=0.006)


def placed(log: Path) -> dict[str, dict[str, float]]:
    """MiB of each worker by part, as the server's log tells them."""
    found: dict[str, dict[str, float]] = {}
    for worker, part, mib in _BUFFER.findall(log.read_text(errors="replace")):
        found.setdefault(worker, {})[part] = float(mib)
    return found


@pytest.mark.engine
def test_tunnels_lead_to_workers_that_nobody_else_reaches(
    native: Path, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over a real sshd. A tunnel that dies takes its worker along, and with `restart` both begin
    again.
    """
    with sshd(tmp_path, monkeypatch) as host:
        ports = free_ports(2)
        file = cluster_file(tmp_path, "127.0.0.1", "192.0.2.7", "192.0.2.8", ssh=host, ports=ports)
        with serve_cluster(tiny, file, restart=True, n_ctx=256) as serving:
            first = answer(serving)
            tunnels = [p for p in psutil.Process().children() if p.name() == "ssh"]
            assert len(tunnels) == 2
            tunnels[0].kill()
            assert eventually(serving) == first
        assert [p for p in psutil.Process().children() if p.name() == "ssh"] == []
    for port in ports:
        with rpc_worker("127.0.0.1", port):  # free again
            pass


def eventually(serving: Serving) -> str:
    """The answer of an engine that is just being started again."""
    until = time.monotonic() + 40
    while time.monotonic() < until:
        try:
            return answer(serving)
        except (KeyError, httpx.TransportError):
            time.sleep(0.2)
    raise TimeoutError


def started_against(folder: Path, says: str, monkeypatch: pytest.MonkeyPatch) -> NodeError:
    """Why a worker that says so is refused."""
    ssh_that_stays_here(folder / "bin", monkeypatch)
    program(folder / "bin", "hakaru", says)
    cluster = read_cluster(cluster_file(folder, "127.0.0.1", "192.0.2.7", ssh="attic"))
    workers = Workers(cluster, trust_network=False)
    try:
        with pytest.raises(NodeError) as refused:
            workers.start(lambda: None)
    finally:
        workers.stop()
    return refused.value


def test_a_worker_of_another_version_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before any weights travel: nothing has connected to it."""
    says = SAYS.format(version="2020.1.1", port=1, then="cat > /dev/null")
    why = started_against(tmp_path, says, monkeypatch)
    assert isinstance(why, NodeUnready)
    assert str(why).startswith(
        f"n0: its worker is of engine 2020.1.1, and the server here of {PINNED}"
    )


def test_a_way_that_leads_nowhere_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker is up, and nothing comes through: here no tunnel was made."""
    says = SAYS.format(version=PINNED, port=1, then="cat > /dev/null")
    why = started_against(tmp_path, says, monkeypatch)
    assert "n0: its worker is up, but the way to it at 127.0.0.1:" in str(why)


def test_what_a_node_says_is_told_with_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A port in use, or no engine there."""
    says = "#!/bin/sh\necho 'hakaru: port 50052 of 127.0.0.1 cannot be used.' >&2\nexit 1\n"
    why = started_against(tmp_path, says, monkeypatch)
    assert str(why) == "attic: port 50052 of 127.0.0.1 cannot be used."


def test_a_worker_that_stays_behind_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It does not end with its session, and is found afterwards."""
    monkeypatch.setattr("hakaru.serving.workers.GONE_WITHIN_S", 0.3)
    monkeypatch.setattr("hakaru.serving.workers.protocol_of", lambda *_: PROTOCOL)
    ssh_that_stays_here(tmp_path / "bin", monkeypatch)
    then = f"echo $$ > {tmp_path}/pid; while true; do sleep 0.1; done"
    program(tmp_path / "bin", "hakaru", SAYS.format(version=PINNED, port=1, then=then))
    program(tmp_path / "bin", "ssh", SSH.replace('exec sh -c "$3"', 'sh -c "$3" & wait'))
    cluster = read_cluster(cluster_file(tmp_path, "127.0.0.1", "192.0.2.7", ssh="attic"))
    workers = Workers(cluster, trust_network=False)
    workers.start(lambda: None)
    with pytest.raises(NodeError, match=r"may still run on n0; look there, and end it: kill \d+"):
        workers.stop()
    os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)


def test_a_port_in_use_is_told_on_the_node(native: Path) -> None:
    """Before the engine's program is started."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        told = pytest.raises(
            MachineError, match=f"port {port} of 127.0.0.1 cannot be used by a worker"
        )
        with told, rpc_worker("127.0.0.1", port):
            pass


@pytest.mark.engine
def test_a_worker_that_was_left_behind_is_found(native: Path) -> None:
    """By the next one that wants its port, with the command that ends it."""
    port = free_port()
    with rpc_worker("127.0.0.1", port) as left:
        found = f"has a worker already, process {left.facts.pid}; .* end it: kill {left.facts.pid}"
        with pytest.raises(MachineError, match=found), rpc_worker("127.0.0.1", port):
            pass


def test_the_wheel_has_no_workers(tmp_path: Path) -> None:
    """Its server knows no RPC."""
    cluster = read_cluster(cluster_file(tmp_path, "127.0.0.1", "192.0.2.7", ssh="attic"))
    with (
        pytest.raises(EngineMissing, match="hakaru engine build"),
        workers_of(cluster, trust_network=False),
    ):
        pass


def test_a_worker_on_the_network_is_named_as_such(capsys: pytest.CaptureFixture[str]) -> None:
    """Nobody opens a port by mistake."""
    assert run(["cluster", "worker", "--host", "0.0.0.0"]) == 2
    assert "say --trust-network" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words", ["--private", "--memory 4GiB", "--generate systemd", "-ngl 3", "--idle 9m"]
)
def test_what_one_machine_has_is_refused(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Said before anything is started."""
    assert run(["serve", "x.gguf", "--cluster", "cluster.toml", *words.split()]) == 2
    assert "cluster" in capsys.readouterr().err


def test_a_dry_run_says_what_is_started_where(
    native: Path, tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Commands and the weights that travel, by the plan; nothing is started."""
    file = cluster_file(tmp_path, "127.0.0.1", "192.0.2.7", "127.0.0.2", ssh="far", ports=(7, 8))
    command = ["serve", str(tiny), "--cluster", str(file), "-c", "256", "--dry-run"]
    assert run([*command, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    far, here = told["workers"]
    plan = fit(tiny, cluster=file, source="computed", n_ctx=256)
    assert [far["weights_bytes"], here["weights_bytes"]] == [
        share.weights_bytes for share in plan.placement.shares
    ]
    assert far["command"][0] == "ssh"
    assert f"{far['endpoint']}:127.0.0.1:7" in far["command"]
    assert far["command"][-2:] == ["far", "hakaru cluster worker --json --port 7"]
    assert (here["node"], here["endpoint"]) == ("n1", "127.0.0.1:8")
    server = told["command"]
    assert server[server.index("--rpc") + 1] == f"{far['endpoint']},127.0.0.1:8"
    assert rpc_servers() == []
    assert run(command) == 0
    assert "For n0, which gets" in (out := capsys.readouterr().out)
    assert "Dry run: nothing was loaded." in out


def test_a_dry_run_of_what_does_not_fit_says_so(
    native: Path, tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the exit code of fit."""
    file = cluster_file(tmp_path, "127.0.0.1", "192.0.2.7")
    file.write_text(file.read_text().replace("16GiB", "50MiB").replace("8GiB", "1MiB"))
    assert run(["serve", str(tiny), "--cluster", str(file), "-c", "256", "--dry-run"]) == 3
    assert "does not fit" in capsys.readouterr().err


@pytest.mark.parametrize("words", ["--type Q8_0", "--dry-run", "-o x", "--json", "--programs /x"])
def test_deploy_run_writes_nothing(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What is for files is refused."""
    command = f"deploy x.gguf --cluster cluster.toml --target rpc --run {words}"
    assert run(command.split()) == 2
    assert "leave it out with --run" in capsys.readouterr().err


def test_deploy_runs_rpc_and_vllm_only(capsys: pytest.CaptureFixture[str]) -> None:
    """The others are started by whom their files are for."""
    command = "deploy x.gguf --cluster cluster.toml --target systemd --run"
    assert run(command.split()) == 2
    assert "starts the targets rpc and vllm, and not systemd" in capsys.readouterr().err


@pytest.mark.engine
def test_deploy_run_serves_until_ctrl_c(native: Path, tiny: Path, tmp_path: Path) -> None:
    """Workers on this machine need no ssh; all of them end with the server."""
    first, second, port = free_ports(3)
    file = cluster_file(tmp_path, "127.0.0.1", "127.0.0.2", "127.0.0.3", ports=(first, second))
    words = f"deploy {tiny} --cluster {file} --target rpc --run -c 256 --users 2 --port {port}"
    command = [sys.executable, "-P", "-m", "hakaru", *words.split()]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout and "answers at" in process.stdout.readline()
        below = psutil.Process(process.pid).children(recursive=True)
        assert len([p for p in below if "ggml-rpc-server" in p.name()]) == 2
        process.send_signal(signal.SIGINT)
        assert "Stopped." in process.stdout.read()
        assert process.wait() == 0
    assert psutil.wait_procs(below, timeout=5)[1] == []
