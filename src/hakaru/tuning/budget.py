"""The best model that fits a number of bytes: importance, errors, probes, a link, an allocation, and a race.

Every step reads other texts: importance and probes the calibration windows, the link and the choice of rivals the
validation windows, the race the test windows, which no step has seen before. What is shipped is our mix only if the paired
interval of its loss less the best preset's lies below zero; otherwise it is the preset. Nothing is written before that: probes
compute a recipe with the kernels of its types in a loaded model.

Left out: a speed row (types are not timed yet), several devices, and recipes of more than one source.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from hakaru.engine.lab import lab_build
from hakaru.errors import DoesNotFit
from hakaru.evaluation.statistics import RESAMPLES, ratio_of_sums
from hakaru.evaluation.windows import Window
from hakaru.models.imatrix import Imatrix
from hakaru.models.mixture import preset_types
from hakaru.models.model import Model
from hakaru.models.presets import BASE_TYPES, NEEDS_IMPORTANCE
from hakaru.models.quant_types import BY_NAME
from hakaru.models.roster import quantizer_facts, roster
from hakaru.quantization.allocate import Allocation, Limits, allocate, smallest_within
from hakaru.quantization.blobs import Blobs, blob_key
from hakaru.quantization.file_bytes import padded_bytes
from hakaru.quantization.hull import items_of
from hakaru.quantization.importance_file import vector_digest
from hakaru.quantization.layout import how_made, planned_bytes
from hakaru.quantization.pins import pinned
from hakaru.quantization.prediction import Link, fit_link
from hakaru.quantization.prior import GENERIC, Prior, learned, prior_for_kin
from hakaru.quantization.probes import Effort, Probe, doubt, most_uncertain, plan, uniform_recipes
from hakaru.quantization.quiet import stdout_to_stderr
from hakaru.quantization.sensitivity import Reading, Sensitivities, prior_sensitivities, with_readings
from hakaru.tuning.bench import Bench
from hakaru.units import Figure

TYPES: Final = ("Q8_0", "Q6_K", "Q5_K", "Q5_1", "Q5_0", "Q4_K", "Q4_1", "IQ4_NL", "Q4_0", "IQ4_XS", "IQ3_S", "Q3_K", "IQ3_XXS",
                "Q2_K", "IQ2_S", "IQ2_XS")  # fmt: skip
RIVALS: Final = 2
SAME_GRID: Final = {"Q4_0": ("Q4_0", "Q5_0"), "Q4_1": ("Q4_1", "Q5_1"), "Q4_K": ("Q4_K", "Q5_K"), "IQ4_NL": ("IQ4_NL", "IQ4_XS")}
"""Types that reproduce a source of this type almost exactly, by its grid and not by their merit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pains:
    """What an effort spends: documents per domain of text, windows per probe, rows and weights at least drawn of every tensor
    for its errors, types of the runs that the link is fitted to (one type everywhere, as far as rows allow), and at most so
    many probes of single tensors.
    """

    n_documents: int
    n_windows: int
    n_rows: int
    n_weights: int
    runs: tuple[str, ...] = ("Q6_K", "Q5_K", "Q4_K", "Q4_0", "IQ4_XS", "Q3_K", "Q2_K")
    n_singles: int = 0


PAINS: Final[Mapping[Effort, Pains]] = {
    "quick": Pains(n_documents=12, n_windows=6, n_rows=16, n_weights=2**14, runs=("Q6_K", "Q4_K", "Q4_0", "Q3_K", "Q2_K")),
    "standard": Pains(n_documents=20, n_windows=6, n_rows=64, n_weights=2**16),
    "thorough": Pains(n_documents=40, n_windows=12, n_rows=64, n_weights=2**16, n_singles=96),
}
SINGLES_AT_ONCE: Final = 16
SURE: Final = 0.03
"""Single tensors are probed until the damage of the model at the probes' strength is known to this relative standard error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What is asked for: at most so many bytes of file, or at most so much loss (mean KLD in nats per token)."""

    file_bytes: int | None = None
    kld: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A recipe before it is built: types, exact bytes, predicted loss, and what each tensor is thought to cost."""

    types: Mapping[str, str]
    file_bytes: int
    budget_bytes: int
    predicted: Figure
    allocation: Allocation
    link: Link
    imatrix: Imatrix | None
    errors: Mapping[str, Mapping[str, float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rival:
    """A preset of at most the same bytes, and its loss on the test windows."""

    preset: str
    types: Mapping[str, str]
    file_bytes: int
    kld: Figure


@dataclass(frozen=True, slots=True, kw_only=True)
class Race:
    """Our mix against the best preset, paired on the same windows. `ratio` is ours over the preset's; None without a rival."""

    ours: Figure
    rival: Rival | None
    ratio: Figure | None
    wins: bool


class Budgeter:
    """Quantizing one model to a budget, on one bench."""

    def __init__(self, bench: Bench, model: Model, effort: Effort) -> None:
        self.bench, self.model, self.effort, self.pains, self.blobs = bench, model, effort, PAINS[effort], Blobs()
        self.roster = roster(quantizer_facts(model.meta), model.tensors)
        kept = {t.name for t in self.roster.kept}
        self.tensors = [t for t in model.tensors if t.name not in kept]
        self.own_grid = {t.name: SAME_GRID.get(t.type.name, (t.type.name,)) for t in self.tensors if t.type.is_quantized}
        windows = bench.windows(model, n_documents=self.pains.n_documents)
        self.calibration, self.validation, self.test = windows[0::3], windows[1::3], windows[2::3]

    def plan(self, target: Target, *, imatrix: Imatrix | None, pins: Sequence[tuple[str, str]] = ()) -> Plan:
        """Measure what is needed and allocate. Raises DoesNotFit with the range of possible bytes, Misuse for a pin that matches
        nothing or an imatrix of another model.
        """
        if imatrix:
            imatrix.check("--importance", self.model.path, self.tensors)
        errors = self.errors(imatrix)
        link = self.link(errors, imatrix)
        items = items_of(self.tensors, self.choices(errors), link.known.expected())
        fixed = self.fixed_bytes(errors, imatrix)
        limits = Limits(pins=pinned(items, pins))
        with stdout_to_stderr():  # the solver prints
            if target.file_bytes is not None:
                found = allocate(items, target.file_bytes, fixed_bytes=fixed, limits=limits)
            else:
                found = smallest_within(items, link.damage_for(target.kld or 0.0), fixed_bytes=fixed, limits=limits)
        exact = planned_bytes(self.model, found.types, added=self.how_made(found.types, imatrix))
        if target.file_bytes is not None and exact > target.file_bytes:
            raise DoesNotFit("the planned file has {found} bytes, expected at most {limit}; ask for a little more.",
                             found=exact, limit=target.file_bytes)  # fmt: skip
        return Plan(
            types=found.types, file_bytes=exact, budget_bytes=target.file_bytes or exact, predicted=link.predict(found.types),
            allocation=found, link=link, imatrix=imatrix, errors=errors,
        )  # fmt: skip

    def importance(self) -> Imatrix:
        """Importance from the calibration windows; collected once per model and texts."""
        return self.bench.lab.importance(
            self.model.path,
            self._windows(self.calibration),
            datasets=("hakaru calibration",),
            progress=self._progress("importance"),
        )

    def errors(self, imatrix: Imatrix | None) -> dict[str, dict[str, float]]:
        """Relative squared error by tensor and type."""
        sample = {"n_rows": self.pains.n_rows, "n_weights": self.pains.n_weights}
        inputs = {"model": self.sha256, "types": TYPES, "imatrix": _digest(imatrix), **sample}
        known: dict[str, dict[str, float]] | None = self.bench.ledger.recall("quantization errors", inputs)
        if known is None:
            found = self.bench.lab.errors(
                self.model.path, TYPES, tensors=[t.name for t in self.tensors], imatrix=imatrix, progress=self._progress("errors"),
                **sample,
            )  # fmt: skip
            known = {name: {type_: error for type_, (error, _) in row.items()} for name, row in found.items()}
            self.bench.ledger.remember("quantization errors", inputs, known)
        return known

    def choices(self, errors: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, float]]:
        """The errors of the types that may be chosen. On the grid of a tensor that is quantized already, its own type and the
        finer one of the same family look free: they are no choice.
        """
        kept = {name: {q: e for q, e in row.items() if q not in self.own_grid.get(name, ())} for name, row in errors.items()}
        return {name: row for name, row in kept.items() if row}

    def link(self, errors: Mapping[str, Mapping[str, float]], imatrix: Imatrix | None) -> Link:
        """Sensitivities from probes, and the link from runs of one type everywhere; both are remembered."""
        runs = [Probe(name=type_, types=types) for type_, types in uniform_recipes(errors, self.pains.runs).items()]
        known = self.sensitivities(errors, imatrix)
        return fit_link(known, errors, self.readings("runs", runs, self.validation, imatrix))

    def sensitivities(self, errors: Mapping[str, Mapping[str, float]], imatrix: Imatrix | None) -> Sensitivities:
        """What the probes of this effort teach; with effort thorough also single tensors, those first whose damage is least
        certain, until the whole is known well enough.
        """
        names = tuple(errors)
        prior = self.prior(names)
        before = prior_sensitivities(names, prior)
        readings = self.readings("probes", plan(errors, self.effort), self.calibration, imatrix)
        known, singles = with_readings(before, readings, errors), list[str]()
        while len(singles) < self.pains.n_singles and doubt(known, errors) > SURE:
            n = min(SINGLES_AT_ONCE, self.pains.n_singles - len(singles))
            probes = most_uncertain(known, errors, n=n, done=singles)
            if not probes:
                break
            readings += self.readings("single tensors", probes, self.calibration, imatrix)
            singles += [probe.name for probe in probes]
            known = with_readings(before, readings, errors)
        self.learn(prior, known)
        return known

    def readings(self, what: str, probes: Sequence[Probe], windows: Sequence[Window], imatrix: Imatrix | None) -> list[Reading]:
        """What each probe loses on so many of `windows`, with its standard error over windows."""
        taken = windows[: self.pains.n_windows]
        inputs = {
            "model": self.sha256, "imatrix": _digest(imatrix), "windows": [list(w.tokens) for w in taken],
            "probes": [dict(p.types) for p in probes],
        }  # fmt: skip
        sums = self.bench.ledger.recall(what, inputs)
        if sums is None:
            sums = self.probed([p.types for p in probes], taken, imatrix, what)
            self.bench.ledger.remember(what, inputs, sums)
        return [_reading(probe.types, rows) for probe, rows in zip(probes, sums, strict=True)]

    def probed(
        self, recipes: Sequence[Mapping[str, str]], windows: Sequence[Window], imatrix: Imatrix | None, what: str
    ) -> list[list[dict[str, float]]]:
        """Sums per recipe and window."""
        found = self.bench.lab.probe(
            self.model.path,
            recipes,
            self._windows(windows),
            imatrix=imatrix,
            kept=self.kept(recipes, imatrix),
            progress=self._progress(what),
        )
        return found.probes

    def kept(self, recipes: Sequence[Mapping[str, str]], imatrix: Imatrix | None) -> tuple[Path, dict[str, dict[str, str]]] | None:
        """Where the quantized tensors of these recipes are kept, for the next probes and for writing; None if they are too many."""
        wanted = {(name, type_) for recipe in recipes for name, type_ in recipe.items()}
        by_name = {t.name: t for t in self.tensors}
        n_bytes = sum(by_name[name].bytes_as(BY_NAME[type_]) for name, type_ in wanted)
        if not self.blobs.takes(n_bytes):
            return None
        self.blobs.make_room(n_bytes)
        names: dict[str, dict[str, str]] = {}
        digests = {name: vector_digest(imatrix, by_name[name]) for name, _ in wanted}
        for name, type_ in wanted:
            names.setdefault(name, {})[type_] = blob_key(self.sha256, name, type_, digests[name], lab_build())
        return self.blobs.folder, names

    def race(self, plan_: Plan) -> Race:
        """Our mix and the presets of at most the same bytes that are predicted to lose least, on the test windows."""
        found = self.presets(plan_.errors, plan_.imatrix, at_most=plan_.budget_bytes)
        rivals = sorted(found, key=lambda r: plan_.link.predict(r[1]).value)[:RIVALS]
        sums = self.probed([plan_.types, *(types for _, types, _ in rivals)], self.test, plan_.imatrix, "race")
        ours = _kld(sums[0])
        if not rivals:
            return Race(ours=ours, rival=None, ratio=None, wins=True)
        losses = [sum(r["kld"] for r in rows) for rows in sums[1:]]
        best = int(np.argmin(losses))
        preset, types, n_bytes = rivals[best]
        rival = Rival(preset=preset, types=types, file_bytes=n_bytes, kld=_kld(sums[1 + best]))
        ratio, below = paired_ratio([r["kld"] for r in sums[0]], [r["kld"] for r in sums[1 + best]])
        return Race(ours=ours, rival=rival, ratio=ratio, wins=below)

    def presets(
        self, errors: Mapping[str, Mapping[str, float]], imatrix: Imatrix | None, *, at_most: int
    ) -> list[tuple[str, dict[str, str], int]]:
        """Presets of at most so many bytes whose types were measured: name, types and file bytes. One that puts a layer back
        on the grid of a quantized source is no rival: it looks free there.
        """
        found = []
        for preset in BASE_TYPES:
            if preset in NEEDS_IMPORTANCE and imatrix is None:
                continue
            whole = preset_types(self.roster, preset, has_imatrix=imatrix is not None)
            types = {name: whole[name] for name in errors}
            free = any(type_ in self.own_grid.get(name, ()) for name, type_ in types.items() if name.startswith("blk."))
            measured = not free and all(type_ in errors[name] for name, type_ in types.items())
            n_bytes = planned_bytes(self.model, types, added=self.how_made(types, imatrix)) if measured else 0
            if measured and n_bytes <= at_most:
                found.append((preset, types, n_bytes))
        return found

    def fixed_bytes(self, errors: Mapping[str, Mapping[str, float]], imatrix: Imatrix | None) -> int:
        """Bytes of the file that no choice changes: header, and tensors that keep their type."""
        any_types = {name: next(iter(row)) for name, row in errors.items()}
        sizes = {t.name: padded_bytes(t, any_types[t.name]) for t in self.tensors if t.name in any_types}
        return planned_bytes(self.model, any_types, added=self.how_made(any_types, imatrix)) - sum(sizes.values())

    def how_made(self, types: Mapping[str, str], imatrix: Imatrix | None) -> dict[str, Any]:
        """What the file says about itself; of one length whatever the recipe."""
        return how_made(
            self.model, types, source_sha256=self.sha256, importance_sha256=_digest(imatrix),
            texts={"calibration": _windows_digest(self.calibration), "validation": _windows_digest(self.validation)},
        )  # fmt: skip

    def prior(self, names: tuple[str, ...]) -> Prior:
        """What is thought of the tensors before any probe: from a model of the same tensors, else from all models so far."""
        kin = self.bench.ledger.recall("sensitivities of kin", self._kin(names))
        seen = kin or self.bench.ledger.recall("sensitivities", {"of": "all models"})
        return Prior.from_json(seen) if seen else GENERIC

    def learn(self, prior: Prior, known: Sensitivities) -> None:
        """Remember what the probes taught: for its kin in full, for all models as a profile."""
        ledger, names = self.bench.ledger, known.names
        if ledger.recall("sensitivities of kin", self._kin(names)) is None:
            general = ledger.recall("sensitivities", {"of": "all models"})
            before = Prior.from_json(general) if general else GENERIC
            ledger.remember("sensitivities", {"of": "all models"}, learned(before, names, known.log_mean, known.log_cov).as_json())
        ledger.remember("sensitivities of kin", self._kin(names), prior_for_kin(names, known.log_mean, known.log_cov).as_json())

    @property
    def sha256(self) -> str:
        """The model's hash."""
        return self.bench.ledger.model_sha256(self.model)

    def _kin(self, names: tuple[str, ...]) -> dict[str, object]:
        shapes = {t.name: list(t.shape) for t in self.tensors}
        return {"architecture": self.model.shape.architecture, "tensors": [[name, shapes[name]] for name in names]}

    def _progress(self, what: str) -> Any:
        return lambda done, total: self.bench.watch(what, done, total)

    @staticmethod
    def _windows(windows: Sequence[Window]) -> list[dict[str, Any]]:
        return [w.as_json() for w in windows]


def paired_ratio(ours: Sequence[float], theirs: Sequence[float], *, seed: int = 0) -> tuple[Figure, bool]:
    """Our loss over theirs with its 95 % interval by paired bootstrap over windows, and whether it lies below one."""
    top, bottom = np.asarray(ours, dtype=np.float64), np.asarray(theirs, dtype=np.float64)
    drawn = np.random.default_rng(seed).integers(0, len(top), size=(RESAMPLES, len(top)))
    low, high = np.quantile(top[drawn].sum(axis=1) / bottom[drawn].sum(axis=1), (0.025, 0.975))
    ratio = Figure(value=float(top.sum() / bottom.sum()), unit="ratio", source="measured", low=float(low), high=float(high))
    return ratio, bool(high < 1)


def _reading(types: Mapping[str, str], rows: Sequence[Mapping[str, float]]) -> Reading:
    per_window = np.array([r["kld"] / r["n"] for r in rows])
    spread = float(per_window.std(ddof=1) / np.sqrt(len(rows))) if len(rows) > 1 else 0.0
    return Reading(types=types, kld=float(sum(r["kld"] for r in rows) / sum(r["n"] for r in rows)), standard_error=spread)


def _kld(rows: Sequence[Mapping[str, float]]) -> Figure:
    return ratio_of_sums([r["kld"] for r in rows], [r["n"] for r in rows], unit="nats/token")


def _digest(imatrix: Imatrix | None) -> str | None:
    if imatrix is None:
        return None
    digest = hashlib.sha256()
    for name in sorted(imatrix.entries):
        digest.update(name.encode() + imatrix.entries[name].sums.tobytes() + imatrix.entries[name].counts.tobytes())
    return digest.hexdigest()


def _windows_digest(windows: Sequence[Window]) -> str:
    return hashlib.sha256(json.dumps([list(w.tokens) for w in windows]).encode()).hexdigest()
