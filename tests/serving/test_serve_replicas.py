"""vLLM's ranks on this machine, and over ssh: started, compared with the plan, and ended with all
that came of them. A stand-in is vLLM (`stand_in_vllm.py`).
"""

import fcntl
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from tempfile import gettempdir
from typing import IO

import httpx
import psutil
import pytest

from clusters_made import PAIR
from hakaru.deploying import vllm_processes
from hakaru.deploying.deploy import deploy
from hakaru.errors import EngineRefused, MachineError, NodeUnreachable, NodeUnready, WorkerLost
from hakaru.serving import ranks
from hakaru.serving.serve_at import Serving
from hakaru.serving.serve_replicas import serve_replicas
from hakaru.session import Session
from hakaru.vllm import launch
from hakaru.vllm.parallel import Parallel
from hakaru.vllm.vllm_fit import VllmFit
from ports import free_port
from ssh_stand_in import program, ssh_that_stays_here, sshd

SHARED = Path("/dev/shm")
KEEPERS = Path(gettempdir()) / "hakaru-tests-keepers"
"""Locked while ranks run: the keeper of a test that began earlier takes a file that comes meanwhile
for one of its own.
"""
HALVES = Parallel(pp=2)
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="vLLM runs on Linux alone")


class Site:
    """Two nodes, and a `vllm` that writes down what it starts. `keepers` is locked, shared."""

    def __init__(self, folder: Path, keepers: IO[str]) -> None:
        self.folder, self.keepers, self.port = folder, keepers, free_port()
        self.cluster = folder / "cluster.toml"
        self.cluster.write_text(PAIR.format(address="127.0.0.2"))

    def serve(
        self, *, restart: bool = False, parallel: Parallel = HALVES, session: Session | None = None
    ) -> AbstractContextManager[Serving]:
        """The embedded model, half of its layers on each node."""
        return serve_replicas(
            "smollm2-135m-instruct", self.cluster, users=4, n_ctx=1024, weights="/checkpoint",
            parallel=parallel, trust_network=True, restart=restart, port=self.port,
            session=session,
        )  # fmt: skip

    def pool(self, parallel: Parallel) -> int:
        """Tokens of KV cache, as planned."""
        plan = deploy(
            "smollm2-135m-instruct", cluster=self.cluster, target="vllm", users=4, n_ctx=1024,
            weights="/checkpoint", parallel=parallel, trust_network=True,
        ).fit  # fmt: skip
        assert isinstance(plan, VllmFit)
        return plan.proposal.placed[0].option.replica.kv_tokens

    def lose(self, something: Callable[[], None]) -> None:
        """Serve until it ends because `something` was done."""
        with self.serve() as serving:
            something()
            serving.wait()

    def ranks(self, rank: int) -> list[int]:
        """Process numbers of its starts, the last one last."""
        files = sorted(self.folder.glob(f"rank-{rank}-*"), key=lambda path: path.stat().st_mtime_ns)
        return [int(path.name.rpartition("-")[2]) for path in files]

    def left(self) -> list[str]:
        """What any start left behind: processes, and files in /dev/shm."""
        found = list[str]()
        for path in self.folder.glob("rank-*-*"):
            helper, shared = path.read_text().split()
            pids = [int(path.name.rpartition("-")[2]), int(helper)]
            found += [str(pid) for pid in pids if runs(pid)]
            found += [shared] if Path(shared).exists() else []
        return found


def runs(pid: int) -> bool:
    """Whether a process is there, and no zombie."""
    with suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    port = free_port()
    for module in (launch, vllm_processes):
        monkeypatch.setattr(module, "PORT", port)
    stand_in = Path(__file__).parent.parent / "stand_in_vllm.py"
    started = f'HAKARU_TEST_VLLM={tmp_path} exec {sys.executable} {stand_in} "$@"'
    program(tmp_path / "bin", "vllm", f"#!/bin/sh\n{started}\n")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    with KEEPERS.open("w") as keepers:
        fcntl.flock(keepers, fcntl.LOCK_SH)
        made = Site(tmp_path, keepers)
        (tmp_path / "kv_tokens").write_text(f"{made.pool(HALVES):,}")
        yield made
        assert made.left() == []


def answer(serving: Serving) -> str:
    """A token, through the gateway."""
    model = serving.names[0]
    question = {"model": model, "prompt": "The capital of France is", "max_tokens": 1}
    told = httpx.post(f"{serving.url}/completions", json=question, timeout=30).json()
    return str(told["choices"][0]["text"])


def eventually(serving: Serving) -> str:
    """The answer of a replica that is just being started again."""
    until = time.monotonic() + 40
    while time.monotonic() < until:
        with suppress(KeyError, httpx.TransportError):
            return answer(serving)
        time.sleep(0.2)
    raise AssertionError("it never came back")


def test_two_ranks_answer_and_nothing_of_them_stays(site: Site) -> None:
    """Neither helpers nor shared memory; but what was there before, and what another program has
    open, stays.
    """
    fcntl.flock(site.keepers, fcntl.LOCK_EX)
    before, open_there = SHARED / f"psm_before{os.getpid()}", SHARED / f"psm_open{os.getpid()}"
    before.touch()
    try:
        with site.serve() as serving:
            assert answer(serving) == " Paris"
            assert len(site.ranks(0)) == len(site.ranks(1)) == 1
            file = open_there.open("w")
        assert site.left() == []
        with file:
            assert before.exists() and open_there.exists()
    finally:
        before.unlink(missing_ok=True)
        open_there.unlink(missing_ok=True)


@pytest.mark.parametrize("rank", [0, 1])
def test_a_lost_rank_is_named_and_ends_the_others(site: Site, rank: int) -> None:
    """Whichever it is."""
    name = ("one", "two")[rank]
    with pytest.raises(WorkerLost, match=rf"^{name}: vllm-0 ended \(signal 9\)"):
        site.lose(lambda: os.kill(site.ranks(rank)[0], signal.SIGKILL))


def test_with_restart_all_ranks_of_the_replica_begin_again(site: Site) -> None:
    """Also the one that still ran."""
    with site.serve(restart=True) as serving:
        os.kill(site.ranks(1)[0], signal.SIGKILL)
        until = time.monotonic() + 40
        while len(site.ranks(0)) < 2 and time.monotonic() < until:
            time.sleep(0.1)
        assert eventually(serving) == " Paris"
        assert len(site.ranks(0)) == len(site.ranks(1)) == 2


def test_a_keeper_that_is_killed_leaves_nothing_either(site: Site) -> None:
    """What it kept is found by its session, and ended."""

    def kill() -> None:
        keeper = psutil.Process(site.ranks(1)[0]).parent()
        assert keeper
        keeper.kill()

    with pytest.raises(WorkerLost, match="vllm-0 ended"):
        site.lose(kill)
    for path in site.folder.glob("rank-*-*"):
        Path(path.read_text().split()[1]).unlink(missing_ok=True)  # nobody knew what was before


def test_a_larger_pool_than_planned_is_told(site: Site) -> None:
    """It harms nobody: the answer comes, and a sentence names both."""
    planned = int((site.folder / "kv_tokens").read_text().replace(",", ""))
    (site.folder / "kv_tokens").write_text(f"{planned * 2:,}")
    told = list[str]()
    with site.serve(session=Session.here(keeps=False, warn=told.append)) as serving:
        assert answer(serving)
    assert any(f"{planned * 2:,} tokens, more than the {planned:,}" in line for line in told), told


def test_a_smaller_pool_than_planned_is_refused(site: Site) -> None:
    """Beyond 3%."""
    planned = int((site.folder / "kv_tokens").read_text().replace(",", ""))
    (site.folder / "kv_tokens").write_text(f"{planned * 96 // 100:,}")
    with pytest.raises(EngineRefused, match=f"planned were {planned:,}"), site.serve():
        pass


def test_a_server_that_gives_no_token_is_given_up(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though it listens and lists its models."""
    monkeypatch.setattr(ranks, "PROBE_S", 1)
    monkeypatch.setattr(ranks, "TOKEN_WITHIN_S", 0.5)
    (site.folder / "hangs").touch()
    with pytest.raises(EngineRefused, match="one, two gave no sign"), site.serve():
        pass


def test_a_node_without_vllm_is_named(site: Site) -> None:
    """As is what is looked for."""
    (site.folder / "bin" / "vllm").unlink()
    with pytest.raises(NodeUnready, match=r"^one: there is no vllm"), site.serve():
        pass


def test_a_port_that_somebody_has_is_refused_before_anything_starts(site: Site) -> None:
    """Else that server would give the token."""
    with (
        socket.create_server(("127.0.0.1", launch.PORT)),
        pytest.raises(MachineError, match=f"port {launch.PORT}"),
        site.serve(),
    ):
        pass
    assert site.ranks(0) == []


def test_ranks_elsewhere_are_started_over_ssh(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the greeting knows that prompts leave this machine."""
    ssh_that_stays_here(site.folder / "bin", monkeypatch)
    site.cluster.write_text(PAIR.format(address="192.0.2.7"))
    with site.serve() as serving:
        assert answer(serving) == " Paris"
        assert serving.leave == ("two",)
        assert len(site.ranks(1)) == 1


def test_a_session_that_is_cut_leaves_nothing_there(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over a real sshd."""

    def cut() -> None:
        (client,) = (one for one in psutil.Process().children() if one.name() == "ssh")
        client.kill()

    with sshd(site.folder, monkeypatch) as host:
        site.cluster.write_text(PAIR.format(address="192.0.2.7") + f'ssh = "{host}"\n')
        with pytest.raises(WorkerLost, match=r"^two: vllm-0 ended"):
            site.lose(cut)


def test_a_tunnel_that_reaches_nobody_names_the_node(site: Site) -> None:
    """And says what ssh says."""
    refuses = "echo 'ssh: connect to host two port 22: Connection refused' >&2; exit 255"
    program(site.folder / "bin", "ssh", f"#!/bin/sh\n{refuses}\n")
    nodes = PAIR.format(address="127.0.0.2").replace("3GiB", "1GiB", 1)
    site.cluster.write_text(nodes + 'ssh = "me@two"\n')
    with (
        pytest.raises(NodeUnreachable, match=r"me@two: ssh does not get there \(connect to host"),
        site.serve(parallel=Parallel()),
    ):
        pass


def test_a_replica_elsewhere_is_reached_through_a_tunnel(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over a real sshd; the head is too small to hold one."""
    with sshd(site.folder, monkeypatch) as host:
        nodes = PAIR.format(address="192.0.2.7").replace("3GiB", "1GiB", 1)
        site.cluster.write_text(nodes + f'ssh = "{host}"\n')
        (site.folder / "kv_tokens").write_text(f"{site.pool(Parallel()):,}")
        with site.serve(parallel=Parallel()) as serving:
            assert answer(serving) == " Paris"
            assert serving.backends == (f"http://127.0.0.1:{launch.PORT + 100}/v1",)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("is_up", [True, False])
def test_a_signal_ends_all_of_it(site: Site, number: signal.Signals, *, is_up: bool) -> None:
    """While it serves, and while it loads."""
    if not is_up:
        (site.folder / "hangs").touch()
    starter = (
        "import sys; from hakaru.vllm import launch; from hakaru.deploying import vllm_processes;"
        f"launch.PORT = vllm_processes.PORT = {launch.PORT};"
        "from hakaru.cli import run; sys.exit(run(sys.argv[1:]))"
    )
    words = ["deploy", "smollm2-135m-instruct", "--cluster", str(site.cluster), "--run"]
    words += ["--target", "vllm", "--users", "4", "--context", "1024", "--weights", "/checkpoint"]
    words += ["--pipeline-parallel", "2", "--trust-network", "--port", str(site.port)]
    process = subprocess.Popen(
        [sys.executable, "-c", starter, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout
    awaited = "Ctrl-C" if is_up else "is waited for"
    said = next((line for line in process.stdout if awaited in line), None)
    time.sleep(1)
    process.send_signal(number)
    rest, _ = process.communicate(timeout=40)
    assert said and site.ranks(0) and site.ranks(1)
    assert process.returncode == (0 if is_up else 130), rest
