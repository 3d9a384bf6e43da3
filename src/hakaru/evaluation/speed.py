"""How fast the model is here, measured through the server process that will serve the model.

Each sample sends a prompt that the server has not seen (so that no cache helps) and streams the
answer: time to the first token by our clock, prefill and decode rates from the server's own
timings. The first request warms up and is thrown away. The processor time of other programs is
watched during each sample, and the GPUs that the server uses before the first and after the last
(`hardware.busy`). A sample beside other work is taken again. Where the machine stays busy, the
speed is marked as contended, and the ledger does not keep it.
"""

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final, Literal

import httpx
import numpy as np
from msgspec import Struct, field

from hakaru.engine.call import Progress, no_progress
from hakaru.engine.events import events
from hakaru.engine.server import EngineServer
from hakaru.errors import EngineRefused
from hakaru.evaluation.statistics import median_of
from hakaru.hardware.busy import Others, gpu_of_others, read_clock
from hakaru.hardware.energy import read_energy
from hakaru.pool import impatient_pool
from hakaru.units import Figure

N_PROMPT: Final = 128
"""Tokens of a prompt at an empty context."""
N_PREDICT: Final = 48
"""Tokens of every answer."""
REPEATS: Final = 6
"""Samples of each speed. The range of six holds the true median in 97 of 100 cases (1 - 2 × 0.5^6).
"""
RETRIES: Final = 6
"""Samples beside other work that are thrown away, and looks at a busy GPU, before the speed is
taken as it is, and marked.
"""
DEPTHS: Final = (2048, 8192)
"""Tokens of context behind which decoding is timed."""
USERS: Final = (1, 2, 4, 8)
"""How many users at the same time are timed."""
LONGEST_PREFILL_S: Final = 30.0
"""A depth whose prompt would take longer is left out."""


class Point(Struct, frozen=True, kw_only=True):
    """Decoding under a load: behind a long context, or for several users."""

    depth: int  # tokens of context before the answer
    users: int  # at the same time
    decode_tokens_per_s: Figure  # of all users together
    first_token_ms: Figure
    others: Others = field(default_factory=Others)  # what other programs kept busy meanwhile

    @property
    def is_contended(self) -> bool:
        """As in `Speed`."""
        return self.others.matter

    def as_json(self) -> dict[str, Any]:
        """An entry of `points` in the `speed` object."""
        return {
            "depth": self.depth, "users": self.users,
            "decode_tokens_per_s": self.decode_tokens_per_s.as_json(),
            "first_token_ms": self.first_token_ms.as_json(), **self.others.as_json(),
        }  # fmt: skip

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Point":
        """The inverse of `as_json`."""
        figures = {
            name: Figure.from_json(data[name]) for name in ("decode_tokens_per_s", "first_token_ms")
        }
        return cls(
            depth=data["depth"], users=data["users"], others=Others.from_json(data), **figures
        )


class Speed(Struct, frozen=True, kw_only=True):
    """Rates at an empty context for one user, each the median of repeats with their range."""

    decode_tokens_per_s: Figure
    prefill_tokens_per_s: Figure
    first_token_ms: Figure  # from the request to the first token
    n_prompt: int  # tokens of each prompt
    n_predict: int  # tokens of each answer
    repeats: int
    energy_j: Figure | None = None
    """Joules of the machine for one prompt and its answer, idling included. None where the machine
    does not tell.
    """
    others: Others = field(default_factory=Others)  # in the worst sample that counts

    @property
    def is_contended(self) -> bool:
        """Whether other programs computed meanwhile: then the figures say little of the machine."""
        return self.others.matter

    @property
    def watts(self) -> float | None:
        """What the machine draws while it reads and writes; None where it does not tell."""
        if self.energy_j is None:
            return None
        reads = self.n_prompt / self.prefill_tokens_per_s.value
        return self.energy_j.value / (reads + self.n_predict / self.decode_tokens_per_s.value)

    def as_json(self) -> dict[str, object]:
        """The `speed` object of `hakaru test --json`."""
        return {
            "decode_tokens_per_s": self.decode_tokens_per_s.as_json(),
            "prefill_tokens_per_s": self.prefill_tokens_per_s.as_json(),
            "first_token_ms": self.first_token_ms.as_json(),
            "energy_per_answer_j": self.energy_j.as_json() if self.energy_j else None,
            "n_prompt": self.n_prompt, "n_predict": self.n_predict, "repeats": self.repeats,
            **self.others.as_json(),
        }  # fmt: skip

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Speed":
        """The inverse of `as_json`."""
        names = ("decode_tokens_per_s", "prefill_tokens_per_s", "first_token_ms")
        figures = {name: Figure.from_json(data[name]) for name in names}
        energy = data["energy_per_answer_j"]
        return cls(
            **figures, n_prompt=data["n_prompt"], n_predict=data["n_predict"],
            repeats=data["repeats"],
            energy_j=Figure.from_json(energy) if energy else None, others=Others.from_json(data),
        )  # fmt: skip


def measure_speed(
    server: EngineServer, *, n_vocab: int, repeats: int = REPEATS, progress: Progress = no_progress
) -> Speed:
    """The speed of the model that `server` serves. Raises EngineRefused or EngineDied if the server
    does not answer.
    """
    dice = np.random.default_rng(0)
    n_prompt = max(1, min(N_PROMPT, _room(server)))
    with server.client() as client:
        sample = partial(_fresh, server, client, dice, n_vocab, n_prompt)
        sample()
        progress(1, repeats + 1)
        samples, others = watched(
            server, [sample] * repeats, lambda done: progress(done + 1, repeats + 1)
        )
    return Speed(
        decode_tokens_per_s=median_of([s["decode"] for s in samples], unit="tokens/s"),
        prefill_tokens_per_s=median_of([s["prefill"] for s in samples], unit="tokens/s"),
        first_token_ms=median_of([s["first"] for s in samples], unit="ms"),
        n_prompt=n_prompt,
        n_predict=N_PREDICT,
        repeats=repeats,
        energy_j=median_of([s["joules"] for s in samples], unit="J")
        if all("joules" in s for s in samples)
        else None,
        others=others,
    )


def measure_depths(
    server: EngineServer,
    speed: Speed,
    *,
    n_vocab: int,
    depths: Sequence[int] = DEPTHS,
    repeats: int = REPEATS,
    progress: Progress = no_progress,
) -> list[Point]:
    """Decoding behind each of `depths` that the context holds and whose prompt is predicted to be
    read within LONGEST_PREFILL_S.
    """
    dice = np.random.default_rng(1)
    depths = [
        d
        for d in depths
        if d <= _room(server) and d / speed.prefill_tokens_per_s.value <= LONGEST_PREFILL_S
    ]
    with server.client() as client:
        loads = [
            (depth, 1, partial(_fresh, server, client, dice, n_vocab, depth)) for depth in depths
        ]
        return _points(server, loads, progress, repeats)


class LeftOut(Struct, frozen=True, kw_only=True):
    """One of DEPTHS that was not timed."""

    depth: int  # tokens of context before the answer
    reason: Literal["context", "prefill"]
    """`context`: the context is too small. `prefill`: reading the prompt would take longer than
    LONGEST_PREFILL_S.
    """

    @property
    def n_ctx(self) -> int:
        """Tokens of context that one conversation needs for this depth."""
        return self.depth + N_PREDICT + 1

    def as_json(self) -> dict[str, Any]:
        """An entry of `depths_left_out` in the `speed` object."""
        return {"depth": self.depth, "reason": self.reason, "context_needed": self.n_ctx}


def depths_left_out(points: Sequence[Point], *, n_ctx: int) -> list[LeftOut]:
    """The depths of DEPTHS that no point has. `n_ctx`: tokens of context of one conversation."""
    missing = [depth for depth in DEPTHS if depth not in {point.depth for point in points}]
    return [
        LeftOut(depth=d, reason="context" if d + N_PREDICT + 1 > n_ctx else "prefill")
        for d in missing
    ]


def measure_users(
    server: EngineServer, *, n_vocab: int, progress: Progress = no_progress
) -> list[Point]:
    """Decoding for several users at the same time: for each number of USERS that the server has
    slots for, the rate of all users together.
    """
    dice = np.random.default_rng(2)
    counts = [n for n in USERS if n <= server.settings.n_parallel]
    n_prompt = max(1, min(N_PROMPT, _room(server)))
    with server.client() as client, impatient_pool(max(counts)) as pool:

        def together(users: int) -> dict[str, float]:
            prompts = [_prompt(dice, n_vocab, n_prompt) for _ in range(users)]
            answers = list(pool.map(lambda prompt: _one(server, client, prompt), prompts))
            seconds = max(a["last_at"] for a in answers) - min(a["first_at"] for a in answers)
            return {
                "decode": users * (N_PREDICT - 1) / seconds,
                "first": max(a["first"] for a in answers),
            }

        return _points(server, [(0, users, partial(together, users)) for users in counts], progress)


def _points(
    server: EngineServer,
    loads: Sequence[tuple[int, int, Callable[[], dict[str, float]]]],
    progress: Progress,
    repeats: int = REPEATS,
) -> list[Point]:
    """A point for each load. A load is a depth, a number of users, and what takes one sample."""
    points: list[Point] = []

    def sampled(done: int) -> None:
        progress(len(points) * repeats + done, len(loads) * repeats)

    for depth, users, sample in loads:
        samples, others = watched(server, [sample] * repeats, sampled)
        rates, firsts = [s["decode"] for s in samples], [s["first"] for s in samples]
        points.append(
            Point(
                depth=depth, users=users, decode_tokens_per_s=median_of(rates, unit="tokens/s"),
                first_token_ms=median_of(firsts, unit="ms"), others=others,
            )
        )  # fmt: skip
    return points


def _room(server: EngineServer) -> int:
    """Tokens of prompt that the context of one conversation holds beside the answer."""
    return (server.log.context_per_slot() or server.settings.n_cells) - N_PREDICT - 1


def _prompt(dice: np.random.Generator, n_vocab: int, n: int) -> list[int]:
    return [int(t) for t in dice.integers(0, n_vocab, n)]


def _fresh(
    server: EngineServer,
    client: httpx.Client,
    dice: np.random.Generator,
    n_vocab: int,
    n_prompt: int,
) -> dict[str, float]:
    """One answer to a prompt that the server has not seen."""
    return _one(server, client, _prompt(dice, n_vocab, n_prompt))


def watched(
    server: EngineServer,
    samples: Sequence[Callable[[], dict[str, float]]],
    progress: Callable[[int], None],
) -> tuple[list[dict[str, float]], Others]:
    """Every sample, taken in turn, and what other programs took in the worst of the samples.

    Samples beside other work are thrown away and taken again; after RETRIES such samples, they
    count. The same goes for looks at a busy GPU before the first sample.
    """
    kept, retries, worst = list[dict[str, float]](), RETRIES, _gpu_of_others(server)
    while worst.matter and retries:
        retries, worst = retries - 1, _gpu_of_others(server)
    while len(kept) < len(samples):
        energy, before = read_energy(), read_clock([server.engine_pid])
        rates = samples[len(kept)]()
        joules = read_energy().since(energy)
        others = Others(processors=round(read_clock([server.engine_pid]).others_since(before), 2))
        if others.matter and retries:
            retries -= 1
            continue
        worst = worst.or_worse(others)
        kept.append(rates if joules is None else {**rates, "joules": joules})
        progress(len(kept))
    return kept, worst.or_worse(_gpu_of_others(server))


def _gpu_of_others(server: EngineServer) -> Others:
    return Others(gpu=gpu_of_others(server.engine_pid) if server.log.accelerator_bytes() else None)


def _one(server: EngineServer, client: httpx.Client, prompt: list[int]) -> dict[str, float]:
    """One prompt and its answer: rates in tokens/s by the server's clock; `first` in ms, `first_at`
    and `last_at` in seconds by our clock.
    """
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
    last = began
    timings: dict[str, Any] = {}
    try:
        with client.stream("POST", "/completion", json=request) as response:
            if response.status_code != 200:
                raise EngineRefused(
                    "the engine's server answered {status} to a speed test: {text}",
                    status=response.status_code,
                    text=response.read().decode(errors="replace")[:200],
                )
            for event in events(response):
                last = time.perf_counter()
                first = first or last
                timings = event.get("timings") or timings
    except httpx.TransportError as error:
        raise server.death() from error
    if first is None or "predicted_per_second" not in timings:
        raise EngineRefused("the engine's server ended a speed test without timings.")
    return {
        "decode": timings["predicted_per_second"], "prefill": timings["prompt_per_second"],
        "first": 1000 * (first - began), "first_at": first, "last_at": last,
    }  # fmt: skip
