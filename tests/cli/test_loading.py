"""No command loads what `fit` refuses."""

import os
import re
from pathlib import Path

import psutil
import pytest
from msgspec.structs import replace

from hakaru.cli import run
from hakaru.engine.lab import Lab
from hakaru.engine.mode import Mode
from hakaru.engine.server import EngineServer
from hakaru.errors import DoesNotFit
from hakaru.evaluation.served import laid_out, served
from hakaru.hardware.machine import Memory
from hakaru.hardware.named_machine import parse_hardware
from hakaru.hardware.probe import probe_machine
from hakaru.ledger import Ledger
from hakaru.memory.settings import ContextSettings
from hakaru.models.model import read_model
from hakaru.planning.answer import Fit
from hakaru.planning.fit_at import fit_at
from hakaru.planning.shares import Layout
from hakaru.servers import Deployment, beside_servers
from hakaru.session import Session
from hakaru.testing import tiny_hyperparameters, write_header, write_tiny

pytestmark = pytest.mark.engine
HUGE = ("--context", "524288", "--parallel", "256")
"""Of the tiny model that is 2,048 tokens each, as it was trained for, and a KV cache of 256 MiB."""


@pytest.fixture
def never_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine's server that cannot be started."""

    def refuse(*arguments: object) -> None:
        raise AssertionError("a server was started")

    monkeypatch.setattr("hakaru.engine.server.EngineServer.__init__", refuse)


def said(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str]:
    """Exit code, and everything that was printed."""
    code = run([str(a) for a in arguments])
    streams = capsys.readouterr()
    return code, streams.out + streams.err


@pytest.mark.usefixtures("never_loaded")
def test_serve_says_what_fit_says_and_loads_nothing(
    capsys: pytest.CaptureFixture[str], tiny: Path
) -> None:
    """The same verdict, figures and ways out, and the same exit code."""
    code, told = said(capsys, "fit", tiny, *HUGE, "--memory", "200MiB")
    assert code == 3
    ways = [line for line in told.splitlines() if " frees " in line]
    found, served = said(capsys, "serve", tiny, *HUGE, "--memory", "200MiB")
    assert found == 3
    assert "Needs " in served and "it does not fit." in served
    assert ways and all(way in served for way in ways)
    assert re.findall(r"Needs \S+ \S+", served) == re.findall(r"Needs \S+ \S+", told)


@pytest.mark.usefixtures("never_loaded")
@pytest.mark.parametrize(
    "command",
    [("chat", "-p", "hi", "--memory", "20MiB"), ("serve", "--memory", "20MiB")],
    ids=lambda c: c[0],
)
def test_memory_is_a_limit_for_what_loads(
    capsys: pytest.CaptureFixture[str], tiny: Path, command: tuple[str, ...]
) -> None:
    """As it is for `fit` and `up`."""
    code, told = said(capsys, command[0], tiny, *command[1:])
    assert (code, "it does not fit." in told) == (3, True)
    code, told = said(capsys, "up", tiny, "--memory", "20MiB", "--no-serve")
    assert (code, "may be used" in told) == (3, True)


@pytest.mark.usefixtures("never_loaded")
def test_a_limit_is_not_memory(
    capsys: pytest.CaptureFixture[str], tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More than is free is not there because somebody allows it."""
    monkeypatch.setattr(
        "hakaru.hardware.processor.memory",
        lambda: Memory(total_bytes=2**35, available_bytes=20 * 2**20),
    )
    assert said(capsys, "serve", tiny, "--memory", "1TiB")[0] == 3


@pytest.mark.usefixtures("never_loaded")
@pytest.mark.parametrize(
    "arguments",
    [("test",), ("test", "--tasks", "ours", "--no-speed"), ("test", "TINY")],
    ids=["speed", "tasks", "two"],
)
def test_test_measures_nothing_that_does_not_fit(
    capsys: pytest.CaptureFixture[str],
    tiny: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
) -> None:
    """Every server that it would start is refused first, with the text of `fit`."""
    monkeypatch.setattr(
        "hakaru.hardware.processor.memory",
        lambda: Memory(total_bytes=2**35, available_bytes=20 * 2**20),
    )
    code, told = said(
        capsys, arguments[0], tiny, *(tiny if a == "TINY" else a for a in arguments[1:])
    )
    assert (code, "it does not fit." in told) == (3, True)


@pytest.mark.usefixtures("never_loaded")
def test_more_users_than_the_memory_holds_are_refused_too(tiny: Path, tmp_path: Path) -> None:
    """`--full-speed` asks for eight conversations, which need more than the one that was checked
    first.
    """
    machine = replace(
        probe_machine(), memory=Memory(total_bytes=2**35, available_bytes=140 * 2**20), devices=()
    )
    session = Session(machine=machine, ledger=Ledger(tmp_path / "ledger.sqlite"))
    with pytest.raises(AssertionError, match="a server was started"):
        served(session, read_model(tiny), ContextSettings(n_ctx=256))
    with pytest.raises(
        DoesNotFit,
        match=r"tiny-f16.gguf: needs .* with 65,536 tokens of context for 8 conversations, "
        r"but 140.0 MiB may be used",
    ):
        served(session, read_model(tiny), ContextSettings(n_ctx=65536, n_parallel=8))


def test_what_is_tight_is_loaded_and_said(capsys: pytest.CaptureFixture[str], tiny: Path) -> None:
    """The margin is eaten into; the person decides."""
    _, told = said(capsys, "fit", tiny, "--json")
    needed = int(re.findall(r'"total_bytes": (\d+)', told)[0])
    code, told = said(
        capsys, "chat", tiny, "-p", "hi", "--memory", f"{needed * 1.01:.0f}B", "--port", "1"
    )
    assert (code, "it fits, but tightly." in told) == (0, True)


@pytest.mark.alone  # a file that two tests map is half of each
def test_weights_that_another_server_has_mapped_are_taken(
    embedded: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system calls them available, because they can be read again; the server that uses them
    needs them all the same.
    """
    with EngineServer(embedded, ContextSettings(n_ctx=256)) as engine:
        record = Deployment(
            pid=os.getpid(),
            started=psutil.Process().create_time(),
            port=1,
            model="m",
            path=str(embedded),
            settings={},
        )
        monkeypatch.setattr("hakaru.servers.running", lambda: [record])
        machine = probe_machine()
        held = (
            machine.memory.available_bytes - beside_servers(machine, (tiny,)).memory.available_bytes
        )
        assert engine.process.pid
        assert 0.5 * embedded.stat().st_size < held < 1.1 * embedded.stat().st_size
        assert beside_servers(machine, (embedded,)) == machine


def test_what_is_loaded_is_what_was_placed(tmp_path: Path) -> None:
    """A plan of some layers, of experts in RAM, or of a split of its own holds only if the server
    is told so. What llama.cpp does by itself it is left to do.
    """
    wide = {"block_count": 40, "embedding_length": 2048, "feed_forward_length": 8192}
    experts = {"expert_feed_forward_length": 2048, "expert_count": 32}
    models = {
        "llama": tiny_hyperparameters("llama", **wide),
        "qwen3moe": tiny_hyperparameters("qwen3moe", **wide, **experts),
    }
    machine = probe_machine()

    def placed(architecture: str, hardware: str) -> Fit:
        model = read_model(
            write_header(tmp_path / f"{architecture}.gguf", models[architecture], n_vocab=512)
        )
        return fit_at(
            model,
            ContextSettings(n_ctx=4096),
            machine=machine,
            ledger=None,
            engine=Lab(),
            hardware=parse_hardware(hardware),
            source="computed",
        )

    whole, some, moe = (
        placed("llama", "RTX 4090"),
        placed("llama", "2GiB + 64GiB RAM"),
        placed("qwen3moe", "RTX 4090 + 64GiB RAM"),
    )
    assert laid_out(whole, Mode()) == Mode()
    layers, kept = some.placement.layout.n_gpu_layers, moe.placement.layout.n_cpu_moe
    assert 0 < layers < 41 and 0 < kept < 40
    assert laid_out(some, Mode()) == Mode(n_gpu_layers=layers)
    assert laid_out(moe, Mode()) == Mode(n_gpu_layers=41, n_cpu_moe=kept)
    unequal = replace(
        whole,
        placement=replace(whole.placement, layout=Layout(counts=(30, 11), default_split=False)),
    )
    assert laid_out(unequal, Mode()) == Mode(n_gpu_layers=41, tensor_split=(30, 11))


def test_the_engine_takes_a_layout(tmp_path: Path) -> None:
    """A build without accelerators has no use for it, and loads all the same: the words are the
    engine's.
    """
    path = write_tiny(tmp_path / "moe.gguf", tiny_hyperparameters("qwen3moe"))
    with EngineServer(
        path, ContextSettings(n_ctx=256), Mode(n_gpu_layers=2, tensor_split=(1, 1), n_cpu_moe=2)
    ) as server:
        assert any("overrid" in line for line in server.log.lines)
