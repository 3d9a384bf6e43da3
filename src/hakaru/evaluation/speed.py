"""How fast the model is here, measured through the server process that will serve it.

Each repeat sends a prompt that the server has not seen (so that no cache helps) and streams the answer: time to the
first token by our clock, prefill and decode rates from the server's own timings. The first request warms up and is
thrown away.
"""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import httpx
import numpy as np

from hakaru.engine.server import EngineServer
from hakaru.errors import EngineRefused
from hakaru.evaluation.statistics import median_of
from hakaru.units import Figure

N_PROMPT: Final = 128
N_PREDICT: Final = 48
REPEATS: Final = 6
"""With six repeats the range of all of them holds the true median in 97 of 100 cases (1 - 2 × 0.5^6)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """Rates at an empty context for one user, each the median of repeats with its interval."""

    decode_tokens_per_s: Figure
    prefill_tokens_per_s: Figure
    first_token_ms: Figure
    n_prompt: int
    n_predict: int
    repeats: int

    def as_json(self) -> dict[str, object]:
        """The `speed` object of `hakaru test --json`."""
        return {
            "decode_tokens_per_s": self.decode_tokens_per_s.as_json(),
            "prefill_tokens_per_s": self.prefill_tokens_per_s.as_json(),
            "first_token_ms": self.first_token_ms.as_json(),
            "n_prompt": self.n_prompt, "n_predict": self.n_predict, "repeats": self.repeats,
        }  # fmt: skip

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Speed":
        """The inverse of `as_json`."""
        names = ("decode_tokens_per_s", "prefill_tokens_per_s", "first_token_ms")
        figures = {name: Figure.from_json(data[name]) for name in names}
        return cls(**figures, n_prompt=data["n_prompt"], n_predict=data["n_predict"], repeats=data["repeats"])


def measure_speed(
    server: EngineServer, *, n_vocab: int, repeats: int = REPEATS, progress: Callable[[int, int], None] = lambda done, total: None
) -> Speed:
    """The speed of the model that `server` serves. Raises EngineRefused or EngineDied if it does not answer."""
    dice = np.random.default_rng(0)
    n_prompt = max(1, min(N_PROMPT, (server.context_per_slot() or server.settings.n_cells) - N_PREDICT - 1))
    samples = []
    with server.client() as client:
        for i in range(repeats + 1):
            prompt = [int(t) for t in dice.integers(0, n_vocab, n_prompt)]
            try:
                samples.append(_one(client, prompt))
            except httpx.TransportError as error:
                raise server.death() from error
            progress(i + 1, repeats + 1)
    kept = samples[1:]
    return Speed(
        decode_tokens_per_s=median_of([s["decode"] for s in kept], unit="tokens/s"),
        prefill_tokens_per_s=median_of([s["prefill"] for s in kept], unit="tokens/s"),
        first_token_ms=median_of([s["first"] for s in kept], unit="ms"),
        n_prompt=n_prompt,
        n_predict=N_PREDICT,
        repeats=repeats,
    )


def _one(client: httpx.Client, prompt: list[int]) -> dict[str, float]:
    request = {
        "prompt": prompt,
        "n_predict": N_PREDICT,
        "ignore_eos": True,
        "cache_prompt": False,
        "stream": True,
        "temperature": 0,
    }
    began = time.perf_counter()
    first: float | None = None
    timings: dict[str, Any] = {}
    with client.stream("POST", "/completion", json=request) as response:
        if response.status_code != 200:
            raise EngineRefused(
                "the engine's server answered {status} to a speed test: {text}",
                status=response.status_code,
                text=response.read().decode(errors="replace")[:200],
            )
        for line in response.iter_lines():
            if line.startswith("data: "):
                if first is None:
                    first = 1000 * (time.perf_counter() - began)
                timings = json.loads(line[6:]).get("timings") or timings
    if first is None or "predicted_per_second" not in timings:
        raise EngineRefused("the engine's server ended a speed test without timings.")
    return {"decode": timings["predicted_per_second"], "prefill": timings["prompt_per_second"], "first": first}
