"""What a person asks of a model, and which of it may not be missed. Pure.

Every task has a usual pace and patience (`traffic`). They are wishes: a model that misses one is
listed and says so. What a person names is a condition: a model that misses it is left out.
"""

from typing import Final, Literal, TypedDict, Unpack

from msgspec import Struct

from hakaru.errors import Misuse
from hakaru.language import LANGUAGES, listed
from hakaru.memory.settings import MAX_CONTEXT, ContextSettings
from hakaru.models.benchmarks import Task
from hakaru.models.by_word import gives_vectors, is_for_japanese
from hakaru.models.catalogue import KnownModel
from hakaru.models.licences import licence_class
from hakaru.models.scores import scores_of
from hakaru.selection.traffic import Traffic, traffic_for

Reason = Literal[
    "task", "language", "licence", "trained_context", "not_modelled", "memory", "speed",
    "speed_unknown", "first_token", "no_score", "further_down",
]  # fmt: skip
"""Why a model is not among the rows."""
LICENCES: Final = ("any", "open")
UBATCH: Final = 512


class Conditions(Struct, frozen=True, kw_only=True):
    """What is asked for."""

    task: Task
    language: str  # "en" or "ja"
    traffic: Traffic
    n_ctx: int  # tokens of context of one person
    min_speed: float | None = None  # tokens per second; None: the pace is a wish
    first_token_s: float | None = None  # None: the patience is a wish
    license: str = "any"

    def __post_init__(self) -> None:
        if self.license not in LICENCES:
            raise Misuse(
                "`license` is '{found}', expected one of {known}.",
                found=self.license,
                known=listed(LICENCES),
            )
        if self.language not in LANGUAGES:
            raise Misuse(
                "`language` is '{found}', expected one of {known}.",
                found=self.language,
                known=listed(LANGUAGES),
            )
        if not 1 <= self.n_ctx * self.traffic.users <= MAX_CONTEXT:
            raise Misuse(
                "`n_ctx` {found} for {n} users is more than the engine's {most} tokens.",
                found=self.n_ctx,
                n=self.traffic.users,
                most=MAX_CONTEXT,
            )

    def settings(self, cache: str, users: int | None = None) -> ContextSettings:
        """How the engine runs a model with a cache of this type, for `users` or those asked for."""
        n = users or self.traffic.users
        return ContextSettings(
            n_ctx=self.n_ctx * n, n_ubatch=UBATCH, type_k=cache, type_v=cache, n_parallel=n
        )

    def why_not(self, model: KnownModel) -> Reason | None:
        """Why the model is not looked at, whatever the machine; None where it is."""
        if not does(model, self.task):
            return "task"
        if not _speaks(model, self.task, self.language):
            return "language"
        if self.license == "open" and licence_class(model.license) != "open":
            return "licence"
        trained = model.hyperparameters.get("context_length")
        return "trained_context" if trained and trained < self.n_ctx else None

    def as_json(self) -> dict[str, object]:
        """The object `constraints` of `hakaru choose --json`."""
        traffic = self.traffic
        return {
            "task": self.task, "language": self.language, "n_ctx": self.n_ctx,
            "users": traffic.users, "prompt_tokens": traffic.n_prompt,
            "answer_tokens": traffic.n_answer, "kept_tokens": traffic.n_kept,
            "first_token_s": traffic.first_token_s,
            "decode_tokens_per_s": traffic.decode_tokens_per_s, "license": self.license,
            "required": self.required(),
        }  # fmt: skip

    def required(self) -> list[str]:
        """The wishes that were named, so that no row misses them."""
        named = {"decode_tokens_per_s": self.min_speed, "first_token_s": self.first_token_s}
        return [name for name, value in named.items() if value is not None]


class Asked(TypedDict, total=False):
    """How a person asks; what is left out follows from the task."""

    language: str  # "en" or "ja"
    n_ctx: int | None  # tokens of context of one user
    min_speed: float | None  # decoded tokens per second of one user
    first_token_s: float | None  # seconds until the first word
    users: int | None  # at the same time
    prompt_tokens: int | None  # that are read before the first word
    answer_tokens: int | None  # that are written
    license: str  # "any" or "open"


def conditions_of(task: Task, **asked: Unpack[Asked]) -> Conditions:
    """The usual conditions of `task`, with what was asked in their place. Raises Misuse."""
    min_speed, first_token_s = asked.get("min_speed"), asked.get("first_token_s")
    traffic = traffic_for(
        task,
        prompt_tokens=asked.get("prompt_tokens"),
        answer_tokens=asked.get("answer_tokens"),
        users=asked.get("users"),
        first_token_s=first_token_s,
        min_speed=min_speed,
    )
    return Conditions(
        task=task, language=asked.get("language", "en"), traffic=traffic,
        n_ctx=asked.get("n_ctx") or traffic.n_ctx, min_speed=min_speed,
        first_token_s=first_token_s, license=asked.get("license", "any"),
    )  # fmt: skip


def does(model: KnownModel, task: Task) -> bool:
    """Whether a model is made for a task. Code, reasoning and documents are text: every model that
    writes does them, some better than others.
    """
    if task == "embedding" or gives_vectors(model):
        return task == "embedding" and gives_vectors(model)
    return task not in {"vision", "tool-use"} or task in model.tasks


def _speaks(model: KnownModel, task: Task, language: str) -> bool:
    """Whether the model is known to speak the language, or was measured in it. English is taken for
    granted.
    """
    if language == "en" or {"many", language} & set(model.languages):
        return True
    return is_for_japanese(model) or bool(scores_of(model, task, language))
