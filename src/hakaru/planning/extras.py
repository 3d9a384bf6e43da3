"""What is loaded beside a model: a projector (mmproj), a draft model, the model's own layers for
multi-token prediction (MTP).

Each lies on the first accelerator, what it keeps in host memory in RAM. A draft of either kind has
a context of its own: as many tokens as the model's, in F16 whatever the model's cache is, with
compute buffers for the same micro-batch. A model with states keeps copies of them while MTP drafts
run, to go back to.

Source: llama.cpp, common/speculative.cpp (common_base_params_to_speculative), common/common.h
(need_n_rs_seq), src/llama-memory-recurrent.cpp.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from hakaru.errors import Misuse, ModelUnknown
from hakaru.formats.gguf import read_header
from hakaru.memory.compute import device_compute
from hakaru.memory.flash_attention import Backend
from hakaru.memory.footprint import kv_cache_bytes, layers_cache_bytes, output_bytes
from hakaru.memory.growth import draft_copy_bytes
from hakaru.memory.projector import projector_compute
from hakaru.memory.settings import F16_CACHE, ContextSettings
from hakaru.models.architectures import buffer_bytes
from hakaru.models.caches import LayerCache
from hakaru.models.kinds import PROJECTOR, no_projector, role_of
from hakaru.models.model import Model
from hakaru.models.shape import Shape
from hakaru.models.vocabulary import why_not_drafted_by
from hakaru.planning.load import Load, load_of
from hakaru.units import Source

LARGEST_DRAFT: Final = 1 / 3
"""A draft's weights, as a part of the model's: of a larger one several guesses cost as much as the
tokens that they may save.
"""
N_DRAFT: Final = 3
"""Tokens that are drafted at once: llama.cpp's default of --spec-draft-n-max."""


class Extra(Struct, frozen=True, kw_only=True):
    """What is loaded beside the model, in bytes. `host_bytes` always lie in RAM, `growth_bytes` are
    taken only when the largest picture comes. `copied_bytes` are those of a draft's context that
    every context checkpoint of a conversation holds, too (they are counted there). `source` tells
    how we know `compute_bytes`.
    """

    name: str
    weights_bytes: int
    compute_bytes: int
    source: Source
    kv_cache_bytes: int = 0
    growth_bytes: int = 0
    host_bytes: int = 0
    copied_bytes: int = 0

    @property
    def device_bytes(self) -> int:
        """What goes to the first accelerator, or to RAM where there is none."""
        return self.weights_bytes + self.compute_bytes + self.kv_cache_bytes + self.growth_bytes

    @property
    def bytes(self) -> int:
        """All of it."""
        return self.device_bytes + self.host_bytes

    def as_json(self) -> dict[str, object]:
        """The companion as it stands in `--json`."""
        return {
            "name": self.name, "bytes": self.bytes, "weights_bytes": self.weights_bytes,
            "kv_cache_bytes": self.kv_cache_bytes, "compute_bytes": self.compute_bytes,
            "growth_bytes": self.growth_bytes, "host_bytes": self.host_bytes,
            "copied_bytes": self.copied_bytes, "source": self.source,
        }  # fmt: skip


Beside = Callable[[ContextSettings], tuple[Extra, ...]]
"""What is loaded beside a model at such settings: a draft's context is as long as the model's."""


def nothing(settings: ContextSettings) -> tuple[Extra, ...]:
    """The model is loaded alone."""
    return ()


def bytes_of(extras: Iterable[Extra]) -> tuple[int, int, int]:
    """What all of them take on the first device, what they keep in RAM, and what every context
    checkpoint holds of them.
    """
    extras = tuple(extras)
    return (
        sum(e.device_bytes for e in extras),
        sum(e.host_bytes for e in extras),
        sum(e.copied_bytes for e in extras),
    )


def projector_extra(path: Path, *, ask_engine: bool = True) -> Extra:
    """A vision or audio projector: its weights, and what it computes with by the engine's dry run,
    else estimated. Raises ModelUnknown for a file that is none.
    """
    from hakaru.engine.projector import projector_dry_run  # `choose` starts no process

    header = read_header(path)
    role = role_of(header.metadata, len(header.tensors), {t.name for t in header.tensors})
    if role != PROJECTOR:
        raise no_projector(path, role)
    weights = buffer_bytes(header.tensors)
    told = projector_dry_run(path) if ask_engine else None
    own = max(0, told.total_bytes - weights) if told else None
    compute = projector_compute(str(path), header, start_bytes=own)
    return Extra(
        name=path.name, weights_bytes=weights, compute_bytes=compute.start_bytes,
        growth_bytes=compute.growth_bytes, host_bytes=compute.host_bytes,
        source="dry_run" if told else "assumed",
    )  # fmt: skip


def refuse_other_vocabulary(target: Model, draft: Model) -> None:
    """Raises Misuse for a draft that llama.cpp refuses for `target`."""
    if reason := why_not_drafted_by(target, draft):
        raise Misuse(
            "`draft` {draft}: its vocabulary is not that of {model}: {reason}; llama.cpp refuses "
            "such a pair, name a smaller model of the same family.",
            draft=draft.name,
            model=target.name,
            reason=reason,
        )


def draft_extra(
    target: Model, draft: Model, settings: ContextSettings, *, backend: Backend = "cuda"
) -> Extra:
    """A draft model. Raises Misuse for one that llama.cpp refuses for `target`, and ModelUnknown
    for an architecture that we do not model.
    """
    refuse_other_vocabulary(target, draft)
    load = load_of(draft.loaded, draft.shape.n_layer)
    extra = draft_context(draft.name, draft.shape, load, settings, backend=backend)
    if extra is None:
        raise _not_modelled(draft)
    return extra


def draft_context(
    name: str, shape: Shape, load: Load, settings: ContextSettings, *, backend: Backend = "cuda"
) -> Extra | None:
    """As `draft_extra`, for a draft of which only this is known; None for an architecture that we
    do not model.
    """
    own = settings.with_cache(F16_CACHE)
    context = _context_bytes(shape, own, backend)
    if context is None:
        return None
    compute_bytes, host_bytes = context
    return Extra(
        name=name, weights_bytes=load.total_bytes - load.input_bytes + load.tied_bytes,
        compute_bytes=compute_bytes, kv_cache_bytes=kv_cache_bytes(shape, own),
        host_bytes=load.input_bytes + host_bytes,
        copied_bytes=draft_copy_bytes(shape.caches or (), own), source="computed",
    )  # fmt: skip


def mtp_extra(
    model: Model, settings: ContextSettings, *, backend: Backend = "cuda", n_draft: int = N_DRAFT
) -> Extra:
    """The layers for multi-token prediction, which are not loaded otherwise, with what the model
    itself computes more for them.

    Raises Misuse for a model without.
    """
    loaded = {t.name for t in model.loaded}
    weights = buffer_bytes(t for t in model.tensors if t.name not in loaded)
    if not model.shape.n_layer_nextn or not weights:
        raise Misuse(
            "`mtp`: {path} has no layers for multi-token prediction; leave the option away, or "
            "name a draft model.",
            path=model.path,
        )
    extra = mtp_layers(model.shape, weights, settings, backend=backend, n_draft=n_draft)
    if extra is None:
        raise _not_modelled(model)
    return extra


def mtp_layers(
    shape: Shape,
    weights_bytes: int,
    settings: ContextSettings,
    *,
    backend: Backend = "cuda",
    n_draft: int = N_DRAFT,
) -> Extra | None:
    """As `mtp_extra`, for a model of which only this is known; None for an architecture that we do
    not model.
    """
    own = settings.with_cache(F16_CACHE)
    layers = [_draft_cache(shape, i) for i in range(-shape.n_layer_nextn, 0)]
    caches = sum(layers_cache_bytes(layers, own))
    dense = replace(shape, n_indexer_top_k=0)  # layers that draft have no indexer
    context = _context_bytes(dense, own, backend, mixed=False)
    if context is None:
        return None
    compute_bytes, host_bytes = context
    return Extra(
        name="MTP", weights_bytes=weights_bytes,
        compute_bytes=compute_bytes + _handed_over(shape, settings, n_draft),
        kv_cache_bytes=caches + n_draft * _states(shape, settings), host_bytes=host_bytes,
        copied_bytes=draft_copy_bytes(layers, own), source="computed",
    )  # fmt: skip


def _context_bytes(
    shape: Shape, settings: ContextSettings, backend: Backend, *, mixed: bool = True
) -> tuple[int, int] | None:
    """The buffers of a second context, of the same graph or of one that is smaller: on the first
    device, and in RAM. None for an architecture that we do not model.
    """
    compute = device_compute(shape, settings, n_devices=1, backend=backend, mixed=mixed)
    if compute is None:
        return None
    return compute.first_bytes, compute.host_bytes + output_bytes(shape, settings)


def _not_modelled(model: Model) -> ModelUnknown:
    return ModelUnknown(
        "{path}: hakaru has no arithmetic for the architecture '{found}' of the draft; choose "
        "another one.",
        path=model.path,
        found=model.shape.architecture,
    )


def _draft_cache(shape: Shape, i: int) -> LayerCache:
    """What layer `i`, one for multi-token prediction, keeps in the draft's context. It attends
    whatever the other layers do; its window is its own.
    """
    heads = 1 if shape.n_embd_head_k_mla else max(shape.n_head_kv)
    k = shape.n_lora_kv + shape.n_rot if shape.n_embd_head_k_mla else shape.n_embd_head_k
    v = 0 if shape.n_embd_head_k_mla else shape.n_embd_head_v
    window = shape.caches[i].window if shape.caches else None
    return LayerCache(k=heads * k, v=heads * v, n_embd_head_k=k, n_embd_head_v=v, window=window)


def _states(shape: Shape, settings: ContextSettings) -> int:
    """Bytes of one copy of all states; nothing where llama.cpp does not go back to one."""
    if not shape.record.goes_back:
        return 0
    return 4 * sum(c.state for c in shape.caches or ()) * settings.n_parallel


def _handed_over(shape: Shape, settings: ContextSettings, n_draft: int) -> int:
    """What stays alive in the model's own graph: a row per token for the draft, and one layer's
    states while they are copied.
    """
    largest = max((c.state for c in shape.caches or ()), default=0) if shape.record.goes_back else 0
    return 4 * shape.n_embd * settings.n_tokens + 4 * largest * settings.n_parallel * (n_draft + 1)
