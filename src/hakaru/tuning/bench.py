"""The bench: check, build and measure model files, remembering everything in the ledger.

The services behind `hakaru test`, and the hands of the loop behind `hakaru up`. Each asks the ledger first; its key
holds the file hashes, the engine's build, the settings and the texts, so that nothing is measured twice and nothing
stale is used.
"""

import hashlib
import platform
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from hakaru import __version__
from hakaru.engine.lab import Lab, lab_build
from hakaru.engine.server import EngineServer, server_build
from hakaru.evaluation.divergence import N_DOCUMENTS, check_same_tokenizer, gather_windows, identical, measure_quality
from hakaru.evaluation.speed import REPEATS, Speed, measure_speed
from hakaru.evaluation.texts import Document
from hakaru.evaluation.tiers import Quality
from hakaru.evaluation.windows import Window, windows_digest
from hakaru.hardware.machine import Machine
from hakaru.memory.footprint import ContextSettings, Footprint
from hakaru.models.model import Model, read_model
from hakaru.places import data_dir
from hakaru.quantization.build import Recipe, build, plan_presets
from hakaru.tuning.check import Check, check_memory, remember_load
from hakaru.tuning.ledger import Ledger, settings_json
from hakaru.tuning.type_speeds import Pace, bytes_read

Watch = Callable[[str, int, int], None]
TEST_VERSION: Final = 2
"""Raise it when the windows, the scoring or the speed test change: results of another version are not reused."""


def nobody_watches(step: str, done: int, total: int) -> None:
    """For callers without a screen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """Speed and memory of one file, measured through the server."""

    speed: Speed
    memory: Footprint
    peak_rss_bytes: int | None

    def as_json(self) -> dict[str, Any]:
        """The form in which the ledger keeps it."""
        return {"speed": self.speed.as_json(), "memory": self.memory.parts(), "peak_rss_bytes": self.peak_rss_bytes}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Trial":
        """The inverse of `as_json`."""
        memory = Footprint(**data["memory"], source="measured")
        return cls(speed=Speed.from_json(data["speed"]), memory=memory, peak_rss_bytes=data["peak_rss_bytes"])


class Bench:
    """One machine, one ledger, one engine. With `again` speeds are measured anew, once each; what does not change is
    still recalled.
    """

    def __init__(
        self, *, machine: Machine, ledger: Ledger, lab: Lab | None = None, watch: Watch = nobody_watches, again: bool = False
    ) -> None:
        self.machine, self.ledger, self.lab, self.watch = machine, ledger, lab or Lab(), watch
        self._timed_now: set[str] | None = set() if again else None

    def check(self, model: Model, settings: ContextSettings) -> Check:
        """Compute and dry-run the memory of `model`. Raises EngineRefused if llama.cpp does not know the model."""
        return check_memory(model, settings, machine=self.machine, ledger=self.ledger, engine=self.lab)

    def plan(self, model: Model, presets: Sequence[str]) -> list[Recipe]:
        """What each preset would make of `model`."""
        inputs = {"model": self.ledger.model_sha256(model), "presets": list(presets), "engine": lab_build()}
        known = self.ledger.recall("plan", inputs)
        if known is None:
            known = [asdict(recipe) for recipe in plan_presets(self.lab, model, presets)]
            self.ledger.remember("plan", inputs, known)
        return [Recipe(**entry) for entry in known]

    def build_path(self, model: Model, recipe: Recipe) -> Path:
        """Where `model` by `recipe` is kept: a place of its own for every source, preset and engine build."""
        source, engine = self.ledger.model_sha256(model), lab_build().replace(" ", "-")
        return data_dir() / "models" / f"{source[:12]}-{engine}" / f"{model.path.stem}-{recipe.preset}.gguf"

    def known_build(self, model: Model, recipe: Recipe) -> str | None:
        """The SHA-256 of `model` by `recipe` if it was ever built here, though its file may be gone."""
        known = self.ledger.recall("build", self._build_inputs(model, recipe))
        return str(known["sha256"]) if known else None

    def built(self, model: Model, recipe: Recipe) -> Model:
        """`model` quantized by `recipe`, in the data directory; built only if it is not there, whole and unchanged."""
        out, known = self.build_path(model, recipe), self.known_build(model, recipe)
        if known and out.is_file() and self.ledger.sha256(out) == known:
            return read_model(out)

        def progress(done: int, total: int) -> None:
            self.watch(f"quantize {recipe.preset}", done, total)

        made = build(self.lab, model, recipe, out, overwrite=True, progress=progress)
        self.ledger.remember("build", self._build_inputs(model, recipe), {"sha256": self.ledger.sha256(out)})
        return made

    def windows(
        self,
        reference: Model,
        *,
        own: Sequence[Document] = (),
        n_documents: int = N_DOCUMENTS,
        n_prompts: int | None = None,
        ask: bool = True,
    ) -> list[Window]:
        """The test windows of `reference`, answers included; its answers are asked for once. Without `ask` there are none
        before that.
        """
        inputs = {
            "reference": self.ledger.model_sha256(reference),
            "engine": lab_build(),
            "python": platform.python_version(),  # its documentation and sources are the texts
            "version": TEST_VERSION,
            "n_documents": n_documents,
            "n_prompts": n_prompts,
            "own": [[d.name, hashlib.sha256(d.text.encode()).hexdigest()] for d in own],
        }
        known: list[dict[str, Any]] | None = self.ledger.recall("windows", inputs)
        if known is None and not ask:
            return []
        if known is None:

            def progress(done: int, total: int) -> None:
                self.watch("reference answers", done, total)

            gathered = gather_windows(self.lab, reference, own=own, n_documents=n_documents, n_prompts=n_prompts, progress=progress)
            known = [{"domain": w.domain, **w.as_json()} for w in gathered]
            self.ledger.remember("windows", inputs, known)
        return [Window(domain=w["domain"], tokens=tuple(w["tokens"]), first=w["first"]) for w in known]

    def quality(self, candidate: Model, reference: Model, windows: Sequence[Window], *, name: str = "") -> Quality:
        """What `candidate` lost against `reference` on `windows`. Raises Misuse for another vocabulary."""
        check_same_tokenizer(reference, candidate)
        sha256 = self.ledger.model_sha256(candidate)
        if sha256 == self.ledger.model_sha256(reference):
            return identical()
        return self._qualities({sha256: candidate.path}, reference, windows, name)[sha256]

    def groups(self, model: Model, recipes: Sequence[Recipe]) -> list[list[Recipe]]:
        """The recipes in groups whose files fit together beside their source: into half of the free memory and half of
        the free disk.
        """
        room = min(self.machine.memory.available_bytes // 2 - model.weights_bytes, shutil.disk_usage(data_dir()).free // 2)
        groups: list[list[Recipe]] = []
        used = 0
        for recipe in recipes:
            if not groups or used + recipe.weights_bytes > room:
                groups.append([])
                used = 0
            groups[-1].append(recipe)
            used += recipe.weights_bytes
        return groups

    def race(self, model: Model, recipes: Sequence[Recipe], windows: Sequence[Window]) -> list[Quality]:
        """What each recipe loses against its source `model`, all on the same windows; built only if that is not known."""
        found: dict[str, Quality] = {}
        missing: dict[str, Path] = {}
        hashes = []
        for recipe in recipes:
            sha256 = self.known_build(model, recipe)
            known = self._known_quality(sha256, model, windows) if sha256 else None
            if sha256 is None or known is None:
                path = self.built(model, recipe).path
                sha256 = self.ledger.sha256(path)
                missing[sha256] = path
            else:
                found[sha256] = known
            hashes.append(sha256)
        found |= self._qualities(missing, model, windows, f"on {len(windows)} windows")
        return [found[sha256] for sha256 in hashes]

    def trial(self, model: Model, settings: ContextSettings, *, name: str = "", repeats: int = REPEATS) -> Trial:
        """How fast `model` is here and what it really takes, through the server."""
        sha256 = self.ledger.model_sha256(model)
        if known := self.known_trial(sha256, settings, repeats=repeats):
            return known

        def progress(done: int, total: int) -> None:
            self.watch(f"speed {name}".strip(), done, total)

        self.check(model, settings)  # the prediction that this load is held against
        with EngineServer(model.path, settings) as server:
            speed = measure_speed(server, n_vocab=model.shape.n_vocab, repeats=repeats, progress=progress)
            trial = Trial(speed=speed, memory=server.footprint(), peak_rss_bytes=server.peak_rss_bytes())
            remember_load(server, model, machine=self.machine, ledger=self.ledger, peak_rss_bytes=trial.peak_rss_bytes)
        self.ledger.remember("trial", self._trial_inputs(sha256, settings, repeats), trial.as_json())
        pace = Pace(read=bytes_read(model.tensors, model.shape), seconds=1 / speed.decode_tokens_per_s.value)
        self.ledger.remember("pace", {**self._here(), "model": sha256}, pace.as_json())
        if self._timed_now is not None:
            self._timed_now.add(sha256)
        return trial

    def known_trial(self, sha256: str, settings: ContextSettings, *, repeats: int = REPEATS) -> Trial | None:
        """The trial of the file with this hash, if it was measured on this kind of machine."""
        inputs = self._trial_inputs(sha256, settings, repeats)
        if self._timed_now is not None and sha256 not in self._timed_now:
            return None
        known = self.ledger.recall("trial", inputs)
        return Trial.from_json(known) if known else None

    def paces(self) -> list[Pace]:
        """The files that were timed on this kind of machine with this build, whatever their settings."""
        here = self._here().items()
        return [Pace(**result) for inputs, result in self.ledger.recall_all("pace") if here <= inputs.items()]

    def _here(self) -> dict[str, Any]:
        return {"machine": self.machine.fingerprint, "engine": server_build()}

    def conditions(self) -> dict[str, object]:
        """What a figure depends on besides model and settings, for evidence."""
        return {"hakaru": __version__, "lab": lab_build(), "server": server_build(), "test_version": TEST_VERSION}

    def _qualities(self, files: Mapping[str, Path], reference: Model, windows: Sequence[Window], name: str) -> dict[str, Quality]:
        """Quality by SHA-256: what is known is recalled, the rest is measured together, so that the reference runs once."""
        found = {sha256: known for sha256 in files if (known := self._known_quality(sha256, reference, windows))}

        def progress(done: int, total: int) -> None:
            self.watch(f"test {name}".strip(), done, total)

        missing = [sha256 for sha256 in files if sha256 not in found]
        if missing:
            measured = measure_quality(self.lab, reference.path, [files[k] for k in missing], windows, progress=progress)
            for sha256, quality in zip(missing, measured, strict=True):
                found[sha256] = quality
                self.ledger.remember("quality", self._quality_inputs(sha256, reference, windows), quality.as_json())
        return found

    def _known_quality(self, sha256: str, reference: Model, windows: Sequence[Window]) -> Quality | None:
        known = self.ledger.recall("quality", self._quality_inputs(sha256, reference, windows))
        return Quality.from_json(known) if known else None

    def _build_inputs(self, model: Model, recipe: Recipe) -> dict[str, object]:
        return {"source": self.ledger.model_sha256(model), "preset": recipe.preset, "engine": lab_build()}

    def _quality_inputs(self, sha256: str, reference: Model, windows: Sequence[Window]) -> dict[str, object]:
        return {
            "candidate": sha256,
            "reference": self.ledger.model_sha256(reference),
            "windows": windows_digest(windows),
            "engine": lab_build(),
            "version": TEST_VERSION,
        }

    def _trial_inputs(self, sha256: str, settings: ContextSettings, repeats: int) -> dict[str, object]:
        return {
            "model": sha256,
            "machine": self.machine.fingerprint,
            "engine": server_build(),
            "settings": settings_json(settings),
            "version": TEST_VERSION,
            "repeats": repeats,
        }
