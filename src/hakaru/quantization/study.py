"""What is measured of one model before it is quantized: importance, errors, probes, the link, and
the speed of recipes.

Importance and probes read the calibration windows, the link the validation windows; the test
windows are left to whoever judges. Everything is remembered in the ledger, and quantized tensors
are kept, so that a second question about the model costs little.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np

from hakaru.engine.lab import lab_build
from hakaru.engine.server import server_build
from hakaru.errors import MachineError
from hakaru.evaluation.bench import Bench
from hakaru.evaluation.divergence import measure_quality
from hakaru.evaluation.texts import PARTS, Part
from hakaru.evaluation.tiers import Quality
from hakaru.evaluation.windows import Window
from hakaru.formats.imatrix import Imatrix, read_imatrix, write_imatrix
from hakaru.formats.quant_types import BY_NAME
from hakaru.hardware.busy import Others
from hakaru.language import say
from hakaru.memory.settings import ContextSettings
from hakaru.models.model import Model
from hakaru.models.roster import quantizer_facts, roster
from hakaru.places import cache_dir, data_dir
from hakaru.quantization.blobs import Blobs, blob_key
from hakaru.quantization.importance_file import vector_digest
from hakaru.quantization.layout import how_made
from hakaru.quantization.prediction import Link, fit_link
from hakaru.quantization.priors import Priors
from hakaru.quantization.probes import (
    Effort,
    Probe,
    doubt,
    least_change,
    most_uncertain,
    plan,
    uniform_recipes,
)
from hakaru.quantization.sensitivity import (
    Reading,
    Sensitivities,
    prior_sensitivities,
    with_readings,
)
from hakaru.quantization.source import hidden_grids
from hakaru.quantization.writer import needs_importance, write_recipe
from hakaru.units import Figure

TYPES: Final = ("Q8_0", "Q6_K", "Q5_K", "Q5_1", "Q5_0", "Q4_K", "Q4_1", "IQ4_NL", "Q4_0", "IQ4_XS",
        "IQ3_S", "Q3_K", "IQ3_XXS",
                "Q2_K", "IQ2_S", "IQ2_XS")  # fmt: skip
SAME_GRID: Final = {
    "Q4_0": ("Q4_0", "Q5_0"),
    "Q4_1": ("Q4_1", "Q5_1"),
    "Q4_K": ("Q4_K", "Q5_K"),
    "IQ4_NL": ("IQ4_NL", "IQ4_XS"),
}
"""Types that reproduce a source of this type almost exactly, by its grid and not by their merit."""
GLANCE: Final = {"n_rows": 4, "n_weights": 2**12}
"""The sample of every tensor's errors where a glance must do."""
SINGLES_AT_ONCE: Final = 16
SPEED_REPEATS: Final = 3
SURE: Final = 0.03
"""Single tensors are probed until the damage of the model at the probes' strength is known to this
relative standard error.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pains:
    """How much text and how many weights an effort reads."""

    n_documents: int  # per domain of text, in each part
    n_prompts: int  # per language, in each part
    n_windows: int  # per probe
    n_rows: int  # drawn of every tensor for its errors, at least
    n_weights: int  # drawn of every tensor for its errors, at least
    n_singles: int = 0  # probes of single tensors, at most
    runs: tuple[str, ...] = ("Q6_K", "Q5_K", "Q4_K", "Q4_0", "IQ4_XS", "Q3_K", "Q2_K")
    """The link is fitted to one run for each of these types: one type everywhere, as far as rows
    allow.
    """


PAINS: Final[Mapping[Effort, Pains]] = {
    "quick": Pains(
        n_documents=5,
        n_prompts=3,
        n_windows=6,
        n_rows=16,
        n_weights=2**14,
        runs=("Q6_K", "Q4_K", "Q4_0", "Q3_K", "Q2_K"),
    ),
    "standard": Pains(n_documents=7, n_prompts=5, n_windows=6, n_rows=64, n_weights=2**16),
    "thorough": Pains(
        n_documents=14, n_prompts=5, n_windows=12, n_rows=64, n_weights=2**16, n_singles=96
    ),
}


class Study:
    """One model on one bench, measured with one effort. With `glance` nothing is measured that
    takes longer than seconds: what is not remembered is left to the prior. `others`: what others
    kept busy while speeds were taken, at worst.
    """

    def __init__(self, bench: Bench, model: Model, effort: Effort, *, glance: bool = False) -> None:
        self.bench, self.model, self.effort, self.pains = bench, model, effort, PAINS[effort]
        self.glance = glance
        self.roster = roster(quantizer_facts(model.meta), model.tensors)
        kept = {t.name for t in self.roster.kept}
        self.tensors = [t for t in model.tensors if t.name not in kept]
        self.own_types = {t.name: t.type.name for t in self.tensors}
        self.own_grid = {
            t.name: SAME_GRID.get(t.type.name, (t.type.name,))
            for t in self.tensors
            if t.type.is_quantized
        }
        self.calibration, self.validation, self.test = (self.windows_of(part) for part in PARTS)
        self.others = Others()

    @cached_property
    def blobs(self) -> Blobs:
        """Where quantized tensors are kept; a glance needs none."""
        return Blobs()

    def windows_of(self, part: Part) -> list[Window]:
        """The windows of one part of the texts that this effort reads."""
        n_documents, n_prompts = self.pains.n_documents, self.pains.n_prompts
        return self.bench.windows(
            self.model,
            parts=(part,),
            n_documents=n_documents,
            n_prompts=n_prompts,
            ask=not self.glance,
        )

    def importance(self) -> Imatrix:
        """Importance from the calibration windows; collected once per model and texts, and kept as
        an imatrix file.
        """
        path = self._importance_path()
        if not path.exists():
            found = self.bench.lab.importance(
                self.model.path,
                self._windows(self.calibration),
                datasets=("hakaru calibration",),
                progress=self._progress(say("importance")),
            )
            write_imatrix(path, found)
        return read_imatrix(path)

    def known_importance(self) -> Imatrix | None:
        """The same where it was collected before, else None."""
        with suppress(MachineError):  # nothing can be kept there, so nothing is
            path = self._importance_path()
            return read_imatrix(path) if path.exists() else None
        return None

    def _importance_path(self) -> Path:
        inputs = json.dumps([self.sha256, _windows_digest(self.calibration), lab_build()])
        return cache_dir("importance") / f"{hashlib.sha256(inputs.encode()).hexdigest()}.gguf"

    def errors(self, imatrix: Imatrix | None) -> dict[str, dict[str, float]]:
        """Relative squared error by tensor and type, of the types that can be written with this
        importance data, and 0 for a tensor's own type, in which it is copied. A tensor whose rows
        no type divides stays as it is, and is not here.
        """
        sample = {"n_rows": self.pains.n_rows, "n_weights": self.pains.n_weights}
        inputs = {
            "model": self.sha256, "engine": lab_build(), "types": TYPES,
            "imatrix": imatrix_digest(imatrix), "columns": "bounded", **sample,
        }  # fmt: skip
        if self.glance and self.bench.ledger.recall("quantization errors", inputs) is None:
            inputs, sample = {**inputs, **GLANCE}, GLANCE

        def sampled() -> dict[str, dict[str, float]]:
            errors = self.bench.lab.errors(
                self.model.path,
                TYPES,
                tensors=[t.name for t in self.tensors],
                imatrix=imatrix,
                progress=self._progress(say("errors")),
                **sample,
            )
            return {
                name: {type_: error for type_, (error, _) in row.items()}
                for name, row in errors.items()
            }

        known = self.bench.ledger.remembered("quantization errors", inputs, sampled)
        bare = {t.name for t in self.tensors if vector_digest(imatrix, t) is None}
        allowed = {
            name: {
                type_: error
                for type_, error in row.items()
                if not (name in bare and needs_importance(name, type_))
            }
            for name, row in known.items()
        }
        return {name: {**row, self.own_types[name]: 0.0} for name, row in allowed.items() if row}

    def choices(
        self, errors: Mapping[str, Mapping[str, float]], *, copies: bool = True
    ) -> dict[str, dict[str, float]]:
        """The errors of the types that may be chosen. On the grid of a tensor that is quantized
        already, or was before, other types look free and are not: they are no choice. Its own type
        is one, since a copy loses nothing; without `copies` it is none.
        """
        free, own = self.free_types(errors), self.own_types
        kept = {
            name: {
                q: e for q, e in row.items() if q not in free[name] and (copies or q != own[name])
            }
            for name, row in errors.items()
        }
        return {name: row for name, row in kept.items() if row}

    def copied(self, types: Mapping[str, str]) -> set[str]:
        """The tensors that a recipe copies as they are."""
        return {name for name, type_ in types.items() if type_ == self.own_types.get(name)}

    def hidden(self, errors: Mapping[str, Mapping[str, float]]) -> tuple[str, ...]:
        """Grids on which the weights lie although the file does not say so."""
        said = {type_ for grid in self.own_grid.values() for type_ in grid}
        return tuple(type_ for type_ in hidden_grids(errors) if type_ not in said)

    def free_types(self, errors: Mapping[str, Mapping[str, float]]) -> dict[str, set[str]]:
        """For each tensor the types, other than its own, with (almost) zero error because the
        tensor was quantized to them before. Choosing such a type would undo later fine-tuning.
        """
        hidden = self.hidden(errors)
        return {
            name: {q for q in hidden if q in row and row[q] < row.get("Q8_0", 0.0)}
            | (set(self.own_grid.get(name, ())) - {self.own_types.get(name)})
            for name, row in errors.items()
        }

    def link(self, errors: Mapping[str, Mapping[str, float]], imatrix: Imatrix | None) -> Link:
        """Sensitivities from probes, and the link from runs of one type everywhere; both are
        remembered. Of a quantized source the floor is one run more.
        """
        runs = [Probe(name=name, types=types) for name, types in self.run_recipes(errors).items()]
        known = self.sensitivities(errors, imatrix)
        readings = self.readings("runs", runs, self.validation, imatrix)
        least = least_change(errors, self.own_grid)
        floor = (
            self.readings("runs", [Probe(name="floor", types=least)], self.validation, imatrix)
            if least
            else []
        )
        floor = [reading for reading in floor if reading.kld > 0]
        return fit_link(known, errors, [*readings, *floor], floor=floor[0].kld if floor else 0.0)

    def run_recipes(self, errors: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, str]]:
        """The recipes of the runs: one type everywhere, but for tensors that are no larger already,
        which are copied as a mix would copy them. A quantized source has few tensors that the usual
        types make smaller, so that smaller types take their places.
        """
        tensors, found = {t.name: t for t in self.tensors}, dict[str, dict[str, str]]()
        for run, types in uniform_recipes(
            errors, [*self.pains.runs, *(q for q in TYPES if q not in self.pains.runs)]
        ).items():
            smaller = {
                name: type_
                if tensors[name].bytes_as(BY_NAME[type_]) < tensors[name].n_bytes
                else self.own_types[name]
                for name, type_ in types.items()
            }
            if (
                len(found) < len(self.pains.runs)
                and smaller.keys() - self.copied(smaller)
                and smaller not in found.values()
            ):
                found[run] = smaller
        return found

    def sensitivities(
        self, errors: Mapping[str, Mapping[str, float]], imatrix: Imatrix | None
    ) -> Sensitivities:
        """What the probes of this effort teach; with effort thorough also single tensors, those
        first whose damage is least certain, until the whole is known well enough.
        """
        names = tuple(errors)
        prior = (
            self.priors.of(names) if self.glance else self.priors.before_probes(names, keeps=True)
        )
        readings = self.readings("probes", plan(errors, self.effort), self.calibration, imatrix)
        before = prior_sensitivities(names, self.priors.before_probes(names) if readings else prior)
        known, singles = with_readings(before, readings, errors), list[str]()
        while len(singles) < self.pains.n_singles and doubt(known, errors) > SURE:
            n = min(SINGLES_AT_ONCE, self.pains.n_singles - len(singles))
            probes = most_uncertain(known, errors, n=n, done=singles)
            if not probes:
                break
            new = self.readings("single tensors", probes, self.calibration, imatrix)
            if not new:
                break
            readings += new
            singles += [probe.name for probe in probes]
            known = with_readings(before, readings, errors)
        if readings:
            self.priors.learn(known)
        return known

    def readings(
        self, what: str, probes: Sequence[Probe], windows: Sequence[Window], imatrix: Imatrix | None
    ) -> list[Reading]:
        """What each probe loses on so many of `windows`, with its standard error over windows. At a
        glance nothing, where it is not known.
        """
        sums = self.known_sums(
            [p.types for p in probes], windows[: self.pains.n_windows], imatrix, what
        )
        return (
            [reading_of(probe.types, rows) for probe, rows in zip(probes, sums, strict=True)]
            if sums
            else []
        )

    def known_sums(
        self,
        recipes: Sequence[Mapping[str, str]],
        windows: Sequence[Window],
        imatrix: Imatrix | None,
        what: str,
    ) -> list[list[dict[str, float]]] | None:
        """Sums per recipe and window, probed once and remembered under `what`; at a glance None,
        where they are not known.
        """
        inputs = {
            "model": self.sha256, "engine": lab_build(), "imatrix": imatrix_digest(imatrix),
            "windows": [list(w.tokens) for w in windows],
            "probes": [dict(types) for types in recipes],
        }  # fmt: skip
        if self.glance:
            sums: list[list[dict[str, float]]] | None = self.bench.ledger.recall(what, inputs)
            return sums
        return self.bench.ledger.remembered(
            what, inputs, lambda: self.probed(recipes, windows, imatrix, what)
        )

    def probed(
        self,
        recipes: Sequence[Mapping[str, str]],
        windows: Sequence[Window],
        imatrix: Imatrix | None,
        what: str,
    ) -> list[list[dict[str, float]]]:
        """Sums per recipe and window. A recipe with a tensor that the model computes with and the
        probe did not find (a copy of it, on another device) is written to a file and compared.
        """
        found = self.bench.lab.probe(
            self.model.path,
            recipes,
            self._windows(windows),
            imatrix=imatrix,
            kept=self.kept(recipes, imatrix),
            progress=self._progress(_step(what)),
        )
        unseen = found.missing & {t.name for t in self.model.loaded}
        return [
            self.stitched(recipe, windows, imatrix)
            if unseen & (recipe.keys() - self.copied(recipe))
            else sums
            for recipe, sums in zip(recipes, found.probes, strict=True)
        ]

    def stitched(
        self, recipe: Mapping[str, str], windows: Sequence[Window], imatrix: Imatrix | None
    ) -> list[dict[str, float]]:
        """Sums per window of a file that is written for it and removed."""
        with self.trial_file(recipe, imatrix) as written:
            return self.bench.lab.compare(
                self.model.path,
                [written.path],
                self._windows(windows),
                progress=self._progress(say("compare")),
            )[0]

    def kept(
        self, recipes: Sequence[Mapping[str, str]], imatrix: Imatrix | None
    ) -> tuple[Path, dict[str, dict[str, str]]] | None:
        """Where the quantized tensors of these recipes are kept, for the next probes and for
        writing; None if they are too many.
        """
        wanted = {
            (name, type_)
            for recipe in recipes
            for name, type_ in recipe.items()
            if type_ != self.own_types[name]
        }
        by_name = {t.name: t for t in self.tensors}
        n_bytes = sum(by_name[name].bytes_as(BY_NAME[type_]) for name, type_ in wanted)
        if not self.blobs.takes(n_bytes):
            return None
        names: dict[str, dict[str, str]] = {}
        digests = {name: vector_digest(imatrix, by_name[name]) for name, _ in wanted}
        for name, type_ in wanted:
            names.setdefault(name, {})[type_] = blob_key(
                self.sha256, name, type_, digests[name], lab_build()
            )
        new = {
            (name, type_)
            for name, type_ in wanted
            if not (self.blobs.folder / names[name][type_]).exists()
        }
        self.blobs.make_room(sum(by_name[name].bytes_as(BY_NAME[type_]) for name, type_ in new))
        return self.blobs.folder, names

    def speed(
        self, types: Mapping[str, str], imatrix: Imatrix | None, settings: ContextSettings
    ) -> Figure:
        """Decoded tokens per second of a recipe, through the server that will serve it. Its file is
        written for that, mostly from kept tensors, and removed.
        """
        bench = self.bench
        inputs = {
            "model": self.sha256, "types": dict(types), "imatrix": imatrix_digest(imatrix),
            "machine": bench.machine.fingerprint, "engine": server_build(),
            "settings": settings.as_json(),
        }  # fmt: skip
        known = bench.ledger.recall("speed of a recipe", inputs)
        if known is None:
            with self.trial_file(types, imatrix) as written:
                speed = bench.trial(written, settings, repeats=SPEED_REPEATS).speed
            known = speed.decode_tokens_per_s.as_json()
            self.others = self.others.or_worse(speed.others)
            if not speed.is_contended:
                bench.ledger.remember("speed of a recipe", inputs, known)
        return Figure.from_json(known)

    @contextmanager
    def trial_file(self, types: Mapping[str, str], imatrix: Imatrix | None) -> Iterator[Model]:
        """The model by this recipe in a file that is removed afterwards."""
        with TemporaryDirectory(dir=data_dir("models"), prefix="trial-") as folder:
            yield self.written(types, imatrix, Path(folder) / "trial.gguf")

    def written(
        self, types: Mapping[str, str], imatrix: Imatrix | None, out: Path, **options: Any
    ) -> Model:
        """The model by this recipe at `out`. Raises what `write_recipe` raises, and takes its
        options.
        """
        return write_recipe(
            self.bench.lab,
            self.model,
            types,
            out,
            imatrix=imatrix.vectors(self.tensors) if imatrix else None,
            added=self.how_made(types, imatrix),
            blobs=self.blobs,
            source_sha256=self.sha256,
            progress=self._progress(say("write")),
            **options,
        )

    def how_made(self, types: Mapping[str, str], imatrix: Imatrix | None) -> dict[str, Any]:
        """What the file says about itself; of one length whatever the recipe."""
        return how_made(
            self.model,
            types,
            source_sha256=self.sha256,
            importance_sha256=imatrix_digest(imatrix),
            texts={
                "calibration": _windows_digest(self.calibration),
                "validation": _windows_digest(self.validation),
            },
        )

    def lost(self, written: Model) -> Quality:
        """What a file of this model loses on the test windows."""
        (quality,) = measure_quality(
            self.bench.lab,
            self.model.path,
            [written.path],
            self.test,
            progress=self._progress(say("test")),
        )
        return quality

    @cached_property
    def priors(self) -> Priors:
        """What is thought of the tensors before any probe."""
        return Priors(self.bench.ledger, self.model, self.tensors)

    @property
    def sha256(self) -> str:
        """The model's hash."""
        return self.bench.ledger.model_sha256(self.model)

    def _progress(self, what: str) -> Any:
        return lambda done, total: self.bench.watch(what, done, total)

    @staticmethod
    def _windows(windows: Sequence[Window]) -> list[dict[str, Any]]:
        return [w.as_json() for w in windows]


def imatrix_digest(imatrix: Imatrix | None) -> str | None:
    if imatrix is None:
        return None
    digest = hashlib.sha256()
    for name in sorted(imatrix.entries):
        digest.update(
            name.encode()
            + imatrix.entries[name].sums.tobytes()
            + imatrix.entries[name].counts.tobytes()
        )
    return digest.hexdigest()


def reading_of(types: Mapping[str, str], rows: Sequence[Mapping[str, float]]) -> Reading:
    """What a recipe loses, and its standard error over windows, from its sums per window."""
    per_window = np.array([r["kld"] / r["n"] for r in rows])
    spread = float(per_window.std(ddof=1) / np.sqrt(len(rows))) if len(rows) > 1 else 0.0
    return Reading(
        types=types,
        kld=float(sum(r["kld"] for r in rows) / sum(r["n"] for r in rows)),
        standard_error=spread,
    )


def _windows_digest(windows: Sequence[Window]) -> str:
    return hashlib.sha256(json.dumps([list(w.tokens) for w in windows]).encode()).hexdigest()


def _step(what: str) -> str:
    """The name of a kind of probes, in words."""
    return {
        "probes": say("probes"), "runs": say("runs"), "single tensors": say("single tensors"),
        "tier": say("tier"), "race": say("race"),
    }.get(what, what)  # fmt: skip
