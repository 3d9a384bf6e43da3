"""What several commands are asked for, as one value each.

The fields are options by click's names for them: `--cache-type-k` is `cache_type_k`. A command
reads its options from such a value, which stands in its own module, so that mypy sees a misspelt
one. A test holds the names against click's.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hakaru.memory.context import Context
from hakaru.vllm.parallel import Parallel

if TYPE_CHECKING:
    from hakaru.serving.by_hand import ByHand
    from hakaru.serving.entrance import Entrance


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
class ServedContextOptions(ContextOptions):
    """How an engine that answers clients is asked to run."""

    cache_ram: int | None = None  # MiB; None: as has room

    def as_context(self) -> Context:
        """The options by the names of fields."""
        context = super().as_context()
        return context if self.cache_ram is None else {**context, "cache_ram_mib": self.cache_ram}


@dataclass(frozen=True, kw_only=True)
class ParallelOptions:
    """The shape of a replica of vLLM."""

    tensor_parallel: int | None = None  # None: as is best
    pipeline_parallel: int | None = None

    @property
    def parallel_shape(self) -> Parallel | None:
        """The shape of a replica on vLLM, if any was named."""
        if self.tensor_parallel is None and self.pipeline_parallel is None:
            return None
        return Parallel(tp=self.tensor_parallel or 1, pp=self.pipeline_parallel or 1)


@dataclass(frozen=True, kw_only=True)
class ServingOptions:
    """Where a server listens, for whom, and how it ends."""

    alias: str | None
    port: int | None
    private: bool | None
    allow_origin: tuple[str, ...]
    host: str | None
    api_key: tuple[str, ...]
    api_key_file: Path | None
    tls_cert: Path | None
    tls_key: Path | None
    insecure: bool
    drain: float  # seconds
    queue: int | None

    def entrance(self) -> "Entrance":
        """The address and who may ask there. Raises Misuse."""
        from hakaru.serving.entrance import entrance_for

        return entrance_for(
            host=self.host,
            api_key=self.api_key,
            api_key_file=self.api_key_file,
            tls_cert=self.tls_cert,
            tls_key=self.tls_key,
            insecure=self.insecure,
        )


@dataclass(frozen=True, kw_only=True)
class BackendOptions:
    """Servers elsewhere, for which a gateway answers."""

    backend: tuple[str, ...]
    backend_key_file: Path | None
    backend_timeout: float  # seconds


@dataclass(frozen=True, kw_only=True)
class HandOptions:
    """What a person sets of the engine where hakaru would choose; spelled as in llama.cpp."""

    threads: int | None = None
    gpu_layers: int | None = None
    draft: str | None = None
    mmproj: Path | None = None
    temp: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    repeat_penalty: float | None = None
    seed: int | None = None

    def by_hand(self) -> "ByHand":
        """The options by the names of fields. Raises Misuse."""
        from hakaru.engine.sampling import Sampling
        from hakaru.serving.by_hand import ByHand

        sampling = Sampling(
            temp=self.temp,
            top_k=self.top_k,
            top_p=self.top_p,
            min_p=self.min_p,
            repeat_penalty=self.repeat_penalty,
            seed=self.seed,
        )
        return ByHand(
            n_threads=self.threads,
            n_gpu_layers=self.gpu_layers,
            draft=self.draft,
            mmproj=self.mmproj,
            sampling=sampling,
        )


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
