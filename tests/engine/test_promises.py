"""What the engine has otherwise than it was asked for is an error, and never silent."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
from msgspec.structs import replace

from hakaru.engine.mode import Mode
from hakaru.engine.promises import check_promises
from hakaru.engine.sampling import Sampling
from hakaru.engine.server_log import ServerLog
from hakaru.engine.speculation import Speculation
from hakaru.errors import EngineRefused
from hakaru.memory.settings import ContextSettings

SETTINGS = ContextSettings(n_ctx=1024, n_parallel=2, type_k="q8_0")
SLOTS = "srv load_model: initializing, n_slots = 2, n_ctx_slot = 512, kv_unified = 'false'"
CACHE = "llama_kv_cache: size = 17.23 MiB ( 512 cells), K (q8_0): 5.98 MiB, V (f16): 11.25 MiB"
DRAFT_CACHE = CACHE.replace("q8_0", "f16")
GUESSING = Speculation(means="ngram", n_max=3)


class Loaded:
    """A server that has loaded its model and says so in these lines, and of itself in `told`."""

    def __init__(
        self,
        lines: Sequence[str] = (SLOTS, CACHE),
        mode: Mode = Mode(),  # noqa: B008 -- a frozen value
        told: dict[str, Any] | None = None,
        *,
        speculative: bool = True,
    ) -> None:
        self.path, self.settings, self.mode = Path("/m.gguf"), SETTINGS, mode
        self.log, self._told, self._speculative = ServerLog(), told or {}, speculative
        self.log.lines.extend(lines)
        self.log.wait_for_start()

    def client(self, *, timeout: float) -> httpx.Client:
        def answer(request: httpx.Request) -> httpx.Response:
            slots = [{"speculative": self._speculative}] * 2
            return httpx.Response(200, json=self._told if request.url.path == "/props" else slots)

        return httpx.Client(transport=httpx.MockTransport(answer), base_url="http://engine")


def check(server: Loaded) -> None:
    check_promises(server)  # type: ignore[arg-type]


def sampled(**values: float) -> dict[str, Any]:
    return {"default_generation_settings": {"params": values}}


def test_what_was_asked_for_passes() -> None:
    """Also beside a draft, whose cache is in F16, and where 0.25 came back as a 32-bit number."""
    check(Loaded())
    seeing = Mode(
        sampling=Sampling(temp=0.3, top_k=5, seed=7),
        projector=Path("/p.gguf"),
        speculation=GUESSING,
        n_gpu_layers=3,
    )
    told = sampled(temperature=0.30000001192, top_k=5, seed=7) | {"modalities": {"vision": True}}
    offloaded = "load_tensors: offloaded 3/31 layers to GPU"
    check(Loaded([SLOTS, CACHE, DRAFT_CACHE, offloaded], seeing, told))


@pytest.mark.parametrize(
    ("server", "said"),
    [
        (Loaded([SLOTS.replace("512", "256"), CACHE]), "gave 256 tokens of context"),
        (Loaded([SLOTS.replace("slots = 2", "slots = 1"), CACHE]), "same time: 1, expected 2;"),
        (Loaded([SLOTS.replace("false", "true"), CACHE]), "conversations: true, expected false;"),
        (Loaded([SLOTS, DRAFT_CACHE]), "KV cache: f16/f16, expected q8_0/f16;"),
        (
            Loaded([SLOTS, CACHE, "offloaded 0/31 layers to GPU"], Mode(n_gpu_layers=3)),
            "layers on accelerators: 0, expected 3;",
        ),
        (Loaded(mode=Mode(speculation=GUESSING), speculative=False), "guesses nothing ahead"),
        (
            Loaded(mode=Mode(projector=Path("/p")), told={"modalities": {"vision": False}}),
            "sees or hears: false, expected true;",
        ),
        (
            Loaded(mode=Mode(sampling=Sampling(temp=0.5)), told=sampled(temperature=0.8)),
            "`temp`: 0.8, expected 0.5;",
        ),
        (
            Loaded(mode=Mode(sampling=Sampling(top_k=5)), told=sampled(top_k=40)),
            "`top_k`: 40, expected 5;",
        ),
    ],
)
def test_a_difference_is_an_error_of_the_engine(server: Loaded, said: str) -> None:
    """It says what it is, what it should be, and what to do; the exit code is the engine's."""
    with pytest.raises(EngineRefused) as refused:
        check(server)
    assert said in str(refused.value)
    assert refused.value.exit_code == 6


def test_an_engine_that_tells_less_is_not_judged() -> None:
    """An older build of a person's own says nothing of pools, caches and layers."""
    old = SLOTS.partition(", kv_unified")[0]
    check(Loaded([old], replace(Mode(), n_gpu_layers=3)))
