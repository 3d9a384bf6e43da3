"""The bench: check, build and measure one model file, remembering everything in the ledger.

The services behind `hakaru fit`, `quantize` and `test`, and the hands of the loop behind `hakaru up`. Each asks the ledger first; its key holds
the file hashes, the engine's build, the settings and the texts, so that nothing is measured twice and nothing stale is used.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from hakaru import __version__
from hakaru.engine.lab import Lab, lab_build
from hakaru.engine.server import EngineServer, server_build
from hakaru.errors import EngineRefused
from hakaru.evaluation.divergence import check_same_tokenizer, gather_windows, identical, measure_quality
from hakaru.evaluation.speed import Speed, measure_speed
from hakaru.evaluation.texts import Document
from hakaru.evaluation.tiers import Quality
from hakaru.evaluation.windows import Window, windows_digest
from hakaru.hardware.machine import Machine
from hakaru.memory.footprint import ContextSettings, Footprint
from hakaru.models.model import Model, read_model
from hakaru.places import data_dir
from hakaru.quantization.build import Recipe, build, plan_presets
from hakaru.tuning.check import Check, check_memory
from hakaru.tuning.ledger import Ledger, settings_json
from hakaru.units import Figure

Watch = Callable[[str, int, int], None]
TEST_VERSION: Final = 1
"""Raise it when the windows, the scoring or the speed test change: results of another version are not reused."""


def nobody_watches(step: str, done: int, total: int) -> None:
    """For callers without a screen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """Speed and memory of one file, measured through the server."""

    speed: Speed
    memory: Footprint
    peak_rss_bytes: int | None


class Bench:
    """One machine, one ledger, one engine."""

    def __init__(self, *, machine: Machine, ledger: Ledger, lab: Lab | None = None, watch: Watch = nobody_watches) -> None:
        self.machine, self.ledger, self.lab, self.watch = machine, ledger, lab or Lab(), watch

    def check(self, model: Model, settings: ContextSettings) -> Check:
        """Compute and dry-run the memory of `model`. Raises EngineRefused if llama.cpp does not know the model."""
        return check_memory(model, settings, machine=self.machine, ledger=self.ledger, engine=self.lab)

    def plan(self, model: Model, presets: Sequence[str]) -> list[Recipe]:
        """What each preset would make of `model`."""
        inputs = {"model": self.ledger.sha256(model.path), "presets": list(presets), "engine": lab_build()}
        known = self.ledger.recall("plan", inputs)
        if known is None:
            recipes = plan_presets(self.lab, model, presets)
            known = [{"preset": r.preset, "types": dict(r.types), "weights_bytes": r.weights_bytes, "bpw": r.bpw} for r in recipes]
            self.ledger.remember("plan", inputs, known)
        return [Recipe(**entry) for entry in known]

    def built(self, model: Model, recipe: Recipe) -> Model:
        """`model` quantized by `recipe`, in the data directory; built only if it is not there."""
        source = self.ledger.sha256(model.path)
        engine = lab_build().replace(" ", "-")
        out = data_dir() / "models" / f"{model.path.stem}-{source[:8]}" / f"{recipe.preset}-{engine}.gguf"
        inputs = {"source": source, "preset": recipe.preset, "engine": lab_build()}
        known = self.ledger.recall("build", inputs)
        if known and out.is_file() and self.ledger.sha256(out) == known["sha256"]:
            return read_model(out)
        made = build(
            self.lab,
            model,
            recipe,
            out,
            overwrite=True,
            progress=lambda done, total: self.watch(f"quantize {recipe.preset}", done, total),
        )
        self.ledger.remember("build", inputs, {"sha256": self.ledger.sha256(out), "path": str(out)})
        return made

    def windows(
        self, reference: Model, *, own: Sequence[Document] = (), n_documents: int | None = None, n_prompts: int | None = None
    ) -> list[Window]:
        """The test windows of `reference`, answers included; its answers are asked for once."""
        inputs = {
            "reference": self.ledger.sha256(reference.path), "engine": lab_build(), "version": TEST_VERSION,
            "n_documents": n_documents, "n_prompts": n_prompts, "own": [[d.name, hash_of(d.text)] for d in own],
        }  # fmt: skip
        known: list[dict[str, Any]] | None = self.ledger.recall("windows", inputs)
        if known is None:
            limits = {} if n_documents is None else {"n_documents": n_documents}
            windows = gather_windows(
                self.lab,
                reference,
                own=own,
                n_prompts=n_prompts,
                **limits,
                progress=lambda done, total: self.watch("texts", done, total),
            )
            known = [{"domain": w.domain, **w.as_json()} for w in windows]
            self.ledger.remember("windows", inputs, known)
        return [Window(domain=w["domain"], tokens=tuple(w["tokens"]), first=w["first"]) for w in known]

    def quality(self, candidate: Model, reference: Model, windows: Sequence[Window], *, name: str = "") -> Quality:
        """What `candidate` lost against `reference` on `windows`. Raises Misuse for another vocabulary."""
        check_same_tokenizer(reference, candidate)
        hashes = self.ledger.sha256(candidate.path), self.ledger.sha256(reference.path)
        if hashes[0] == hashes[1]:
            return identical(len(windows))
        inputs = {
            "candidate": hashes[0],
            "reference": hashes[1],
            "windows": windows_digest(windows),
            "engine": lab_build(),
            "version": TEST_VERSION,
        }
        known = self.ledger.recall("quality", inputs)
        if known is None:
            measured = measure_quality(
                self.lab,
                reference.path,
                [candidate.path],
                windows,
                progress=lambda done, total: self.watch(f"test {name}".strip(), done, total),
            )
            known = measured[0].as_json()
            self.ledger.remember("quality", inputs, known)
        return quality_from_json(known)

    def trial(self, model: Model, settings: ContextSettings, *, name: str = "", repeats: int | None = None) -> Trial:
        """How fast `model` is here and what it really takes, through the server."""
        sha256 = self.ledger.sha256(model.path)
        inputs = {
            "model": sha256, "machine": self.machine.fingerprint, "engine": server_build(), "settings": settings_json(settings),
            "version": TEST_VERSION, "repeats": repeats,
        }  # fmt: skip
        known = self.ledger.recall("trial", inputs)
        if known is None:
            with EngineServer(model.path, settings) as server:
                _refuse_other_context(server, settings)
                times = {} if repeats is None else {"repeats": repeats}
                speed = measure_speed(
                    server,
                    n_vocab=model.shape.n_vocab,
                    **times,
                    progress=lambda done, total: self.watch(f"speed {name}".strip(), done, total),
                )
                memory, peak = server.footprint(), server.peak_rss_bytes()
            self.ledger.remember_memory(
                memory,
                machine=self.machine.fingerprint,
                model_sha256=sha256,
                settings=settings,
                architecture=model.shape.architecture,
                engine=server_build(),
                peak_rss_bytes=peak,
            )
            known = {"speed": speed.as_json(), "memory": memory.parts(), "peak_rss_bytes": peak}
            self.ledger.remember("trial", inputs, known)
        return Trial(
            speed=speed_from_json(known["speed"]),
            memory=Footprint(**known["memory"], source="measured"),
            peak_rss_bytes=known["peak_rss_bytes"],
        )

    def conditions(self) -> dict[str, object]:
        """What a figure depends on besides model and settings, for evidence."""
        return {"hakaru": __version__, "lab": lab_build(), "server": server_build(), "test_version": TEST_VERSION}


def hash_of(text: str) -> str:
    """A short identity of a text."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def quality_from_json(data: dict[str, Any]) -> Quality:
    """The inverse of `Quality.as_json`."""
    figures = {key: Figure.from_json(data[key]) for key in ("kld_mean", "top1_agreement", "perplexity_ratio")}
    return Quality(
        **figures,
        domains={k: Figure.from_json(v) for k, v in data["domains"].items()},
        n_windows=data["n_windows"],
        n_tokens=data["n_tokens"],
    )


def speed_from_json(data: dict[str, Any]) -> Speed:
    """The inverse of `Speed.as_json`."""
    names = ("decode_tokens_per_s", "prefill_tokens_per_s", "first_token_ms")
    return Speed(
        **{name: Figure.from_json(data[name]) for name in names},
        n_prompt=data["n_prompt"],
        n_predict=data["n_predict"],
        repeats=data["repeats"],
    )


def _refuse_other_context(server: EngineServer, settings: ContextSettings) -> None:
    """A server that quietly took another context than the one asked for is an error, never a footnote."""
    real = server.context_per_slot()
    if real is not None and real < min(settings.n_cells, settings.n_ctx // settings.n_parallel):
        raise EngineRefused(
            "the engine gave {found} tokens of context per conversation, expected {expected}; lower --context.",
            found=real,
            expected=settings.n_ctx // settings.n_parallel,
        )
