"""What a task means for a machine: how much is read, how much is written, for how many, and how
long people wait. Pure.

A chatter and a reader of documents need different models on the same machine: the one waits for
every word, the other for the first. Each task has a usual shape with a reason (`USUAL`), and every
number of it can be named. The context that a model must hold follows from the shape.
"""

from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from hakaru.errors import Misuse
from hakaru.language import listed, say
from hakaru.memory.settings import MAX_CONTEXT, MAX_PARALLEL
from hakaru.models.benchmarks import TASKS, Task

CONTEXT_STEP: Final = 1024
"""A context that follows from a shape is a multiple of this."""


class Traffic(Struct, frozen=True, kw_only=True):
    """The shape of one person's requests, and how many people there are."""

    n_kept: int  # tokens from before, which the cache holds: they are not read again
    n_prompt: int  # tokens that are read before the first word comes
    n_answer: int  # tokens that are written
    users: int = 1  # at the same time
    first_token_s: float  # seconds that people wait for the first word
    decode_tokens_per_s: float  # the pace at which the answer should come; 0: nothing is written

    def __post_init__(self) -> None:
        for name, value, low, high in (
            ("`prompt_tokens`", self.n_prompt, 1, MAX_CONTEXT),
            ("`answer_tokens`", self.n_answer, 0, MAX_CONTEXT),
            ("`users`", self.users, 1, MAX_PARALLEL),
        ):
            if not low <= value <= high:
                raise Misuse(
                    "{name} is {found}, expected a whole number from {low} to {high}.",
                    name=name,
                    found=value,
                    low=low,
                    high=high,
                )

    @property
    def n_ctx(self) -> int:
        """Tokens of context that one person needs."""
        n_tokens = self.n_kept + self.n_prompt + self.n_answer
        step = CONTEXT_STEP if n_tokens > CONTEXT_STEP else CONTEXT_STEP // 2
        return -(-n_tokens // step) * step

    @property
    def depth(self) -> int:
        """Tokens before the word that is being written, when half of the answer is there."""
        return self.n_kept + self.n_prompt + self.n_answer // 2


USUAL: Final[dict[Task, Traffic]] = {
    "chat": Traffic(
        n_kept=6500, n_prompt=500, n_answer=1000, first_token_s=3, decode_tokens_per_s=8
    ),
    "code": Traffic(
        n_kept=25000, n_prompt=3000, n_answer=2000, first_token_s=20, decode_tokens_per_s=10
    ),
    "reasoning": Traffic(
        n_kept=0, n_prompt=1000, n_answer=11000, first_token_s=5, decode_tokens_per_s=20
    ),
    "rag": Traffic(n_kept=0, n_prompt=8000, n_answer=1000, first_token_s=30, decode_tokens_per_s=8),
    "vision": Traffic(
        n_kept=2000, n_prompt=1500, n_answer=1000, first_token_s=10, decode_tokens_per_s=8
    ),
    "embedding": Traffic(
        n_kept=0, n_prompt=512, n_answer=0, first_token_s=1, decode_tokens_per_s=0
    ),
    "tool-use": Traffic(
        n_kept=8000, n_prompt=1500, n_answer=500, first_token_s=5, decode_tokens_per_s=15
    ),
}


def reason(task: Task) -> str:
    """Why a task has its usual shape."""
    return {
        "chat": say("a person reads 5 tokens/s; earlier turns are in the cache"),
        "code": say("some files are in the cache, one is read anew; code is skimmed, not read"),
        "reasoning": say("it thinks at length before it answers, while somebody waits"),
        "rag": say("documents are read for every question; the answer is short"),
        "vision": say("a picture takes 300 to 1,500 tokens"),
        "embedding": say("a paragraph at a time; nothing is written"),
        "tool-use": say("descriptions of tools are in the cache; each call waits for the last"),
    }[task]


def traffic_for(
    task: str,
    *,
    prompt_tokens: int | None = None,
    answer_tokens: int | None = None,
    users: int | None = None,
    first_token_s: float | None = None,
    min_speed: float | None = None,
) -> Traffic:
    """The usual traffic of `task`, with what is named in its place. Raises Misuse."""
    if task not in TASKS:
        raise Misuse(
            "`task` is '{found}', expected one of {known}.", found=task, known=listed(TASKS)
        )
    named = {
        "n_prompt": prompt_tokens,
        "n_answer": answer_tokens,
        "users": users,
        "first_token_s": first_token_s,
        "decode_tokens_per_s": min_speed,
    }
    changes = {name: value for name, value in named.items() if value is not None}
    return replace(USUAL[task], **changes)
