"""What each command was asked for, as one value.

The fields are the options of `app.py` by click's names for them: `--cache-type-k` is
`cache_type_k`. A command reads its options from such a value, so that mypy sees a misspelt one. A
test holds the names against click's.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from hakaru.memory.context import Context
from hakaru.models.presets import preset_asked

if TYPE_CHECKING:  # `--help` and `formula` start without what a model needs
    from hakaru.quantization.probes import Effort


@dataclass(frozen=True, kw_only=True)
class ContextOptions:
    """How the engine is asked to run; the defaults here are those of the command line."""

    context: int | None = None  # None: `default_context`
    ubatch: int = 512
    cache_type_k: str = "f16"
    cache_type_v: str = "f16"
    parallel: int = 1

    def as_context(self) -> Context:
        """The options by the names of fields."""
        context = Context(
            n_ubatch=self.ubatch,
            type_k=self.cache_type_k.lower(),
            type_v=self.cache_type_v.lower(),
            n_parallel=self.parallel,
        )
        return context if self.context is None else {**context, "n_ctx": self.context}


@dataclass(frozen=True, kw_only=True)
class HardwareOptions:
    """`hakaru hardware`."""

    json: bool


@dataclass(frozen=True, kw_only=True)
class DoctorOptions:
    """`hakaru doctor`."""

    json: bool


@dataclass(frozen=True, kw_only=True)
class ShowOptions:
    """`hakaru show`."""

    model: str
    json: bool


@dataclass(frozen=True, kw_only=True)
class FormulaOptions:
    """`hakaru formula`."""

    params: str
    bits: float
    hardware: str | None
    context: int
    json: bool


@dataclass(frozen=True, kw_only=True)
class FitOptions(ContextOptions):
    """`hakaru fit`."""

    model: str
    type_: str | None  # a preset that nobody needs to have built
    bits: str | None  # of the usual preset: 4 is Q4_K_M
    hardware: str | None
    memory: str | None
    mmproj: Path | None
    draft: str | None
    mtp: bool
    kv_unified: bool
    source: Literal["computed", "dry-run", "both"]
    max_context: bool
    depth: int
    explain_terms: bool
    plot: Path | None
    json: bool

    @property
    def preset(self) -> str | None:
        """The preset that was named, by whichever option."""
        return preset_asked(self.type_, self.bits)


@dataclass(frozen=True, kw_only=True)
class BenchOptions:
    """`hakaru bench`."""

    model: str | None  # None: the machine is timed
    depth: int
    calibrate: bool
    json: bool


@dataclass(frozen=True, kw_only=True)
class QuantizeOptions:
    """`hakaru quantize`; exactly one of `bits`, `type_`, `bpw`, `size`, `fit` and `quality`
    is given.
    """

    model: str
    bits: str | None  # of the usual preset: 4 is Q4_K_M
    type_: str | None
    bpw: str | None
    size: str | None
    fit: bool
    quality: str | None
    hardware: str | None
    context: int | None
    min_speed: float | None
    effort: "Effort"
    importance: str | None  # None: auto, but none for a preset that needs none
    pins: tuple[str, ...]
    split: str | None
    converter: Path | None
    output: Path | None
    overwrite: bool
    dry_run: bool
    json: bool


@dataclass(frozen=True, kw_only=True)
class TestOptions(ContextOptions):
    """`hakaru test`."""

    models: tuple[str, ...]
    reference: str | None
    texts: tuple[Path, ...]
    prompts: Path | None
    budget: str | None
    tasks: tuple[str, ...]
    language: str
    chat_template: str | None
    quality: str
    no_speed: bool
    full_speed: bool
    report: Path | None
    plot: Path | None
    page: bool
    again: bool
    json: bool


@dataclass(frozen=True, kw_only=True)
class WishOptions(ContextOptions):
    """What `hakaru up` and `hakaru tune` ask of the level that is chosen."""

    model: str | None
    quality: str
    min_speed: float | None
    memory: str | None
    tasks: tuple[str, ...]
    language: str
    chat_template: str | None
    again: bool
    json: bool


@dataclass(frozen=True, kw_only=True)
class UpOptions(WishOptions):
    """`hakaru up`."""

    port: int | None
    no_serve: bool


@dataclass(frozen=True, kw_only=True)
class TuneOptions(WishOptions):
    """`hakaru tune`."""

    speculative: bool
    draft: str | None
    replay_file: Path | None
    report: Path | None
    plot: Path | None


@dataclass(frozen=True, kw_only=True)
class ServeOptions(ContextOptions):
    """`hakaru serve`."""

    model: str
    memory: str | None
    chat_template: str | None
    port: int | None
    dry_run: bool
    json: bool


@dataclass(frozen=True, kw_only=True)
class ChatOptions:
    """`hakaru chat`."""

    model: str | None
    system: str | None
    prompt: str | None
    max_tokens: int
    port: int | None
    memory: str | None
    chat_template: str | None


@dataclass(frozen=True, kw_only=True)
class PullOptions:
    """`hakaru pull`."""

    model: str
    context: int | None
    memory: str | None
    vision: bool
    force: bool
    dry_run: bool
    json: bool

    def as_context(self) -> Context:
        """The options by the names of fields."""
        return {} if self.context is None else {"n_ctx": self.context}


@dataclass(frozen=True, kw_only=True)
class RmOptions:
    """`hakaru rm`."""

    name: str
    yes: bool
    dry_run: bool
    json: bool


@dataclass(frozen=True, kw_only=True)
class LsOptions:
    """`hakaru ls`."""

    words: tuple[str, ...]
    catalog: bool
    json: bool


@dataclass(frozen=True, kw_only=True)
class CatalogOptions:
    """`hakaru catalog`."""

    json: bool


@dataclass(frozen=True, kw_only=True)
class CatalogUpdateOptions:
    """`hakaru catalog update`."""

    json: bool


@dataclass(frozen=True, kw_only=True)
class CatalogAddOptions:
    """`hakaru catalog add`."""

    model: str
    name: str | None
    json: bool


@dataclass(frozen=True, kw_only=True)
class CatalogRmOptions:
    """`hakaru catalog rm`."""

    name: str
    json: bool


@dataclass(frozen=True, kw_only=True)
class ChooseOptions:
    """`hakaru choose`."""

    task: str
    language: str | None  # None: that of the text
    context: int | None  # of one user
    hardware: str | None
    memory: str | None
    min_speed: float | None
    users: int | None
    license: str
    prompt_tokens: int | None
    answer_tokens: int | None
    first_token: str | None
    top: int
    model: str | None
    for_hardware: str | None
    race: bool
    tasks: tuple[str, ...]
    yes: bool
    electricity: str | None
    watts: float | None
    cloud: str | None
    price: str | None
    tokens_per_day: int | None
    explain: bool
    plot: Path | None
    json: bool


@dataclass(frozen=True, kw_only=True)
class TasksNewOptions:
    """`hakaru tasks new`."""

    file: Path


@dataclass(frozen=True, kw_only=True)
class EngineListOptions:
    """`hakaru engine list`."""

    json: bool


@dataclass(frozen=True, kw_only=True)
class EngineBuildOptions:
    """`hakaru engine build`."""

    backend: str | None  # None: that of this machine's GPU
    no_use: bool
    json: bool


@dataclass(frozen=True, kw_only=True)
class EngineUseOptions:
    """`hakaru engine use`."""

    name: str
    json: bool
