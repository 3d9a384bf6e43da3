"""What a server was asked for, read back from the loaded engine: a difference is an error.

llama.cpp goes on with less in many cases: a smaller context, no guesses ahead, layers in RAM where
no accelerator is found. What a plan promised would then be untrue. What the engine does not tell is
not judged.
"""

from collections.abc import Iterator
from math import isclose
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from hakaru.engine.spellings import SPELLINGS
from hakaru.errors import EngineRefused
from hakaru.language import say

if TYPE_CHECKING:
    from hakaru.engine.server import EngineServer

ANSWERS_WITHIN_S: Final = 5.0


class Promise(NamedTuple):
    """One thing that was asked for, as it is told."""

    what: str
    wanted: object
    found: object
    way_on: str

    @property
    def is_kept(self) -> bool:
        """Whether the engine has it; what it did not tell is not judged."""
        if self.found is None:
            return True
        if isinstance(self.wanted, float) and isinstance(self.found, float | int):
            return isclose(self.wanted, self.found, rel_tol=1e-4, abs_tol=1e-6)
        return self.wanted == self.found


def check_promises(server: "EngineServer") -> None:
    """Raises EngineRefused for the first thing that the engine of `server` has otherwise than it
    was asked for.
    """
    _check_context(server)
    for promise in (*_of_log(server), *_told(server)):
        hold(promise, server)


def hold(promise: Promise, server: "EngineServer") -> None:
    """Raises EngineRefused for a promise that is not kept."""
    if not promise.is_kept:
        raise EngineRefused(
            "{path}: was loaded with other settings than planned: {what}: {found}, expected "
            "{wanted}; {way_on}.",
            path=server.path,
            what=promise.what,
            found=promise.found,
            wanted=promise.wanted,
            way_on=promise.way_on,
        )


def _check_context(server: "EngineServer") -> None:
    real, wanted = server.log.context_per_slot(), server.settings.tokens_each
    if real is not None and real < wanted:
        raise EngineRefused(
            "the engine gave {found} tokens of context per conversation, expected {expected}; "
            "lower `n_ctx`.",
            found=real,
            expected=wanted,
        )


def _of_log(server: "EngineServer") -> Iterator[Promise]:
    """What the engine wrote into its log while it loaded."""
    settings, log, mode = server.settings, server.log, server.mode
    other_build = say("use another build of the engine (hakaru engine list)")
    yield Promise(
        say("conversations at the same time"), settings.n_parallel, log.n_slots(), other_build
    )
    yield Promise(
        say("one pool of cells for all conversations"),
        settings.kv_unified,
        log.kv_unified(),
        other_build,
    )
    yield Promise(
        say("RAM for prompts"), f"{settings.cache_ram_mib or 0} MiB", log.cache_ram(), other_build
    )
    caches = log.cache_types()
    found = settings.cache if not caches or settings.cache in caches else caches[0]
    yield Promise(
        say("types of the KV cache"),
        "/".join(settings.cache),
        "/".join(found),
        say("choose others with `type_k` and `type_v`"),
    )
    if mode.n_gpu_layers:
        yield layers_promise(server, mode.n_gpu_layers)


def layers_promise(server: "EngineServer", n_gpu_layers: int) -> Promise:
    """So many layers, the output counted, on accelerators."""
    told = server.log.n_offloaded()  # by the model, and by a draft
    found = n_gpu_layers if n_gpu_layers in told else next(iter(told), None)
    way_on = say("see whether the engine finds the accelerator: hakaru doctor")
    return Promise(say("layers on accelerators"), n_gpu_layers, found, way_on)


def _told(server: "EngineServer") -> Iterator[Promise]:
    """What the engine tells when it is asked; it is asked only where something was named."""
    mode = server.mode
    if not (mode.speculation or mode.projector or mode.sampling.as_json()):
        return
    with server.client(timeout=ANSWERS_WITHIN_S) as client:
        told: dict[str, Any] = client.get("/props").json()
        slots = client.get("/slots").json()
    if mode.speculation and not all(slot["speculative"] for slot in slots):
        raise EngineRefused(
            "the engine guesses nothing ahead with {path} ({reason}); serve it without.",
            path=server.path,
            reason=server.log.why_no_guesses(),
        )
    if mode.projector:
        senses = any(told.get("modalities", {}).values())
        yield Promise(
            say("whether the model sees or hears"), True, senses, say("name another `mmproj`")
        )
    has = told.get("default_generation_settings", {}).get("params", {})
    for name, value in mode.sampling.as_json().items():
        wanted = float(value) if isinstance(value, float) else value
        yield Promise(f"`{name}`", wanted, has.get(SPELLINGS[name].told), say("leave it out"))
