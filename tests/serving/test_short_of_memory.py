"""A load that runs out of memory is planned with less; what differs is told, and learned."""

import json
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from msgspec.structs import replace

from hakaru.engine.lab import Lab
from hakaru.engine.mode import Mode
from hakaru.engine.out_of_memory import ran_out
from hakaru.errors import EngineDied, EngineOutOfMemory
from hakaru.hardware.machine import Device
from hakaru.memory.footprint import DeviceBuffers, Footprint, compute_footprint
from hakaru.memory.settings import ContextSettings
from hakaru.models.model import Model, read_model
from hakaru.planning.answer import Fit
from hakaru.serving.serve import serve
from hakaru.serving.short_of_memory import loaded_somehow
from hakaru.session import Session
from hakaru.testing import tiny_shape, write_tiny_llama
from houses import FAKE

MAKE = Callable[..., Session]
ASKED = ContextSettings(n_ctx=65536, n_parallel=1)
pytestmark = pytest.mark.usefixtures("no_engine")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """A model whose KV cache is most of it, at a long context."""
    path = tmp_path_factory.mktemp("m") / "tiny.gguf"
    return read_model(write_tiny_llama(path, tiny_shape(n_ctx_train=65536)))


class Loads:
    """Loads for which there are only so many bytes."""

    def __init__(self, had_bytes: int) -> None:
        self.had_bytes = had_bytes
        self.tried: list[Fit] = []

    def __call__(self, fit: Fit, mode: Mode) -> ContextSettings:
        self.tried.append(fit)
        shares = fit.placement.shares or (fit.placement.ram,)
        if sum(share.needed_bytes for share in shares) > self.had_bytes:
            raise EngineOutOfMemory("no memory", log=[])
        return fit.settings


def needed_by(model: Model, session: Session) -> int:
    """What the first plan needs."""
    loads = Loads(2**40)
    loaded_somehow(loads, model, ASKED, Mode(), session)
    return loads.tried[0].total_bytes


def test_a_smaller_cache_comes_first_then_a_shorter_context(
    model: Model, session_with: MAKE
) -> None:
    """As little less as is enough, in the order of the ways out; a person hears both figures."""
    needed = needed_by(model, session_with())
    told: list[str] = []
    loads = Loads(int(0.89 * needed))
    found = loaded_somehow(loads, model, ASKED, Mode(), session_with(told=told))
    assert (found.cache, found.n_ctx) == (("q8_0", "q8_0"), 65536)
    assert len(loads.tried) == 2 and len(told) == 1
    assert "ran out of memory while it loaded" in told[0] and "of the 16.0 GiB" in told[0]
    assert "a KV cache of q8_0/q8_0 instead of f16/f16" in told[0]


def test_what_did_not_fit_is_learned_until_more_is_free(model: Model, session_with: MAKE) -> None:
    """The next command begins with less, and says so; with more free memory it tries again."""
    loads = Loads(int(0.89 * needed_by(model, session_with())))
    loaded_somehow(loads, model, ASKED, Mode(), session_with())
    told: list[str] = []
    again = Loads(loads.had_bytes)
    found = loaded_somehow(again, model, ASKED, Mode(), session_with(told=told))
    assert len(again.tried) == 1 and found.type_k == "q8_0"
    assert len(told) == 1 and told[0].startswith("The last load of this model here ran out")
    more = Loads(2**40)
    assert loaded_somehow(more, model, ASKED, Mode(), session_with(2**35)).type_k == "f16"


def test_fewer_layers_go_onto_the_accelerator(
    model: Model, session_with: MAKE, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before anything that a person asked for is changed."""

    def dry_run(self: Lab, path: Path, settings: ContextSettings) -> Footprint:
        on_card = DeviceBuffers(name="CUDA0", weights_bytes=1, kv_cache_bytes=1, compute_bytes=1)
        computed = compute_footprint(model.shape, model.loaded, settings)
        assert computed
        return replace(computed, source="dry_run", accelerators=(on_card,))

    monkeypatch.setattr(Lab, "dry_run", dry_run)
    told: list[str] = []
    card = Device(name="Card", vendor="nvidia", total_bytes=2**33, free_bytes=2**33)
    session = session_with(told=told)
    session = replace(session, machine=replace(session.machine, devices=(card,)))
    first = Loads(2**40)
    loaded_somehow(first, model, ASKED, Mode(), session)
    (share,) = first.tried[0].placement.shares
    loads = Loads(share.needed_bytes - 1)
    found = loaded_somehow(loads, model, ASKED, Mode(), session)
    assert (found.cache, found.n_ctx) == (ASKED.cache, ASKED.n_ctx)
    assert "layers on accelerators instead of 3" in told[-1]


def test_where_nothing_smaller_is_of_use_the_reason_is_raised(
    model: Model, session_with: MAKE
) -> None:
    """No context below what is of use is served."""
    loads = Loads(0)
    with pytest.raises(EngineOutOfMemory):
        loaded_somehow(loads, model, ASKED, Mode(), session_with())
    assert len(loads.tried) <= 4


def test_a_server_comes_up_with_less(
    model: Model, session_with: MAKE, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first process says that it got no memory, and ends; the second one answers."""
    started: list[ContextSettings] = []
    (tmp_path / "dies").touch()

    def command(path: Path, settings: ContextSettings, *, socket: Path, mode: Mode) -> list[str]:
        started.append(settings)
        dies = tmp_path / ("dies" if len(started) == 1 else "lives")
        asked = {
            "socket": str(socket), "alias": path.stem, "n_parallel": 1, "dies": str(dies),
            "n_ctx_slot": settings.tokens_each, "loads_s": 0,
        }  # fmt: skip
        return [sys.executable, str(FAKE), json.dumps(asked)]

    monkeypatch.setattr("hakaru.engine.server.server_command", command)
    told: list[str] = []
    with serve(
        model.path, n_ctx=65536, n_parallel=1, private=False, session=session_with(told=told)
    ) as serving:
        answer = httpx.post(f"{serving.url}/completions", json={"prompt": "x"})
        assert answer.json()["choices"][0]["text"] == "x"
    assert [settings.type_k for settings in started] == ["f16", "q8_0"]
    assert any("It is loaded with less" in sentence for sentence in told)


@pytest.mark.parametrize(
    ("line", "code", "is_so"),
    [
        ("E ggml_backend_cpu_buffer_type_alloc_buffer: failed to allocate buffer of size 1", 1, 1),
        ("allocating 20.00 MiB on device 0: cudaMalloc failed: out of memory", 1, 1),
        ("ggml_vulkan: vk::Device::allocateMemory: ErrorOutOfDeviceMemory", 1, 1),
        ("terminate called after throwing an instance of 'std::bad_alloc'", -signal.SIGABRT, 1),
        ("ggml/src/ggml.c:1644: GGML_ASSERT(ctx->mem_buffer != NULL) failed", -signal.SIGABRT, 1),
        ("error loading model: tensor 'x' has wrong shape", 1, 0),
        ("load_tensors: loading", -signal.SIGKILL, 0),  # somebody killed it
    ],
)
def test_an_end_for_want_of_memory_is_known_by_its_words(line: str, code: int, is_so: int) -> None:
    """No other end is taken for one."""
    assert ran_out([line], code, 2**40) == bool(is_so)


def test_an_end_by_the_system_is_known_by_its_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the processes that were ended for their memory."""
    monkeypatch.setattr("hakaru.engine.out_of_memory.n_ended_for_memory", lambda: 3)
    assert ran_out([], -signal.SIGKILL, 2) and not ran_out([], -signal.SIGKILL, 3)
    assert not ran_out([], -signal.SIGSEGV, 2)
    assert issubclass(EngineOutOfMemory, EngineDied)
