"""How fast a model answers real requests with and without guesses, through the server that would
serve it, and how many guesses are accepted.

One round serves the model in every way in turn, and each way answers every prompt once, at
temperature 0. So the answers are the same texts, and what the machine does in these minutes meets
every way alike. The time of an answer has the reading of its prompt, since a draft reads it, too.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

import httpx
from msgspec import Struct

from hakaru.engine.mode import Mode
from hakaru.engine.server import EngineServer
from hakaru.errors import EngineRefused, Misuse
from hakaru.evaluation.served import served
from hakaru.evaluation.speed import watched
from hakaru.evaluation.work_prompts import Work, WorkPrompt
from hakaru.hardware.busy import Others
from hakaru.memory.settings import ContextSettings
from hakaru.models.model import Model
from hakaru.session import Session

N_ANSWER: Final = 64
"""Tokens of an answer at most."""
N_WARM_UP: Final = 4
"""Tokens of the first answer of a server, which does not count."""
ROOM: Final = N_ANSWER + 128
"""Tokens of context beside a prompt: the answer, and what a chat template adds at most."""
LEAST_PROMPTS: Final = 3
"""Prompts that a context must hold, to say anything."""


class WorkAnswer(Struct, frozen=True, kw_only=True):
    """What one answer took."""

    work: Work
    n_tokens: int
    seconds: float  # from the request to the end, by the server's clock
    n_guessed: int = 0
    n_accepted: int = 0  # guesses that the model would have written, too


class Lap(Struct, frozen=True, kw_only=True):
    """The answers of one way to all prompts that its context holds."""

    answers: tuple[WorkAnswer, ...]
    others: Others

    def as_json(self) -> dict[str, Any]:
        """The form in which the ledger keeps it."""
        answers = [[a.work, a.n_tokens, a.seconds, a.n_guessed, a.n_accepted] for a in self.answers]
        return {"answers": answers, **self.others.as_json()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Lap":
        """The inverse of `as_json`."""
        names = ("work", "n_tokens", "seconds", "n_guessed", "n_accepted")
        answers = [WorkAnswer(**dict(zip(names, row, strict=True))) for row in data["answers"]]
        return cls(answers=tuple(answers), others=Others.from_json(dict(data)))


def lap(
    session: Session,
    model: Model,
    settings: ContextSettings,
    mode: Mode,
    prompts: Sequence[WorkPrompt],
    progress: Callable[[int], None],
) -> Lap:
    """Serve `model` once, and time its answers. `progress` hears how many are done. Raises
    NothingLoaded, EngineError, and Misuse for a context that holds too few prompts.
    """
    with served(session, model, settings, mode) as server, server.client() as client:
        fitting = [prompt for prompt in prompts if _fits(server, client, prompt)]
        if len(fitting) < LEAST_PROMPTS:
            raise Misuse(
                "`n_ctx` {found} holds {n} of the {all} texts that are asked; ask for at least "
                "1024 tokens for each conversation.",
                found=settings.n_ctx,
                n=len(fitting),
                all=len(prompts),
            )
        _answer(server, client, fitting[0], n_tokens=N_WARM_UP)
        samples = [partial(_timed, server, client, prompt) for prompt in fitting]
        kept, others = watched(server, samples, progress)
    answers = [
        WorkAnswer(
            work=prompt.work,
            n_tokens=int(sample["n_tokens"]),
            seconds=sample["seconds"],
            n_guessed=int(sample["n_guessed"]),
            n_accepted=int(sample["n_accepted"]),
        )
        for prompt, sample in zip(fitting, kept, strict=True)
    ]
    return Lap(answers=tuple(answers), others=others)


def _fits(server: EngineServer, client: httpx.Client, prompt: WorkPrompt) -> bool:
    """Whether the context of one conversation holds the prompt and its answer."""
    tokens = _posted(server, client, "/tokenize", {"content": prompt.text})["tokens"]
    return len(tokens) + ROOM <= server.settings.tokens_each


def _timed(server: EngineServer, client: httpx.Client, prompt: WorkPrompt) -> dict[str, float]:
    timings = _answer(server, client, prompt, n_tokens=N_ANSWER)
    return {
        "n_tokens": timings["predicted_n"],
        "seconds": (timings["prompt_ms"] + timings["predicted_ms"]) / 1000,
        "n_guessed": timings.get("draft_n", 0),
        "n_accepted": timings.get("draft_n_accepted", 0),
    }


def _answer(
    server: EngineServer, client: httpx.Client, prompt: WorkPrompt, *, n_tokens: int
) -> dict[str, Any]:
    """The server's timings of one answer."""
    request = {
        "messages": [{"role": "user", "content": prompt.text}], "temperature": 0, "seed": 0,
        "cache_prompt": False, "max_tokens": n_tokens,
    }  # fmt: skip
    timings: dict[str, Any] = _posted(server, client, "/v1/chat/completions", request)["timings"]
    return timings


def _posted(
    server: EngineServer, client: httpx.Client, path: str, request: Mapping[str, object]
) -> dict[str, Any]:
    try:
        response = client.post(path, json=request)
    except httpx.TransportError as error:
        raise server.death() from error
    if response.status_code != 200:
        raise EngineRefused(
            "the engine's server answered {status} to a speed test: {text}",
            status=response.status_code,
            text=response.text[:200],
        )
    body: dict[str, Any] = response.json()
    return body
