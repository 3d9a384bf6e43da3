"""The losses of recipes, computed in a loaded model without a file, and remembered."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np

from hakaru.engine.builds import lab_build
from hakaru.evaluation.windows import Window
from hakaru.formats.imatrix import Imatrix
from hakaru.formats.quant_types import BY_NAME
from hakaru.language import say
from hakaru.quantization.blobs import blob_key
from hakaru.quantization.importance_file import vector_digest
from hakaru.quantization.probes import Probe
from hakaru.quantization.sensitivity import Reading
from hakaru.quantization.study.recipe_file import trial_file
from hakaru.quantization.study.study import Study, imatrix_digest

Recipes: TypeAlias = Sequence[Mapping[str, str]]
Sums: TypeAlias = list[dict[str, float]]
"""The loss of one recipe: for each window the sums over its tokens."""


def readings(
    study: Study,
    what: str,
    probes: Sequence[Probe],
    windows: Sequence[Window],
    imatrix: Imatrix | None,
) -> list[Reading]:
    """The loss of each probe on the first `windows`, as many as the effort reads. Empty at a glance
    if the losses are not remembered.
    """
    recipes = [probe.types for probe in probes]
    sums = known_sums(study, recipes, windows[: study.sampling.n_windows], imatrix, what)
    if not sums:
        return []
    return [reading_of(types, rows) for types, rows in zip(recipes, sums, strict=True)]


def known_sums(
    study: Study, recipes: Recipes, windows: Sequence[Window], imatrix: Imatrix | None, what: str
) -> list[Sums] | None:
    """Sums per recipe and window, probed once and remembered under `what`; None at a glance if they
    are not remembered.
    """
    inputs = {
        "model": study.sha256, "engine": lab_build(), "imatrix": imatrix_digest(imatrix),
        "windows": [list(w.tokens) for w in windows],
        "probes": [dict(types) for types in recipes],
    }  # fmt: skip
    study.agenda.begins(what, len(recipes) * len(windows))
    if study.glance:
        sums: list[Sums] | None = study.session.ledger.recall(what, inputs)
        return sums
    return study.session.ledger.remembered(
        what, inputs, lambda: probed(study, recipes, windows, imatrix, what)
    )


def probed(
    study: Study, recipes: Recipes, windows: Sequence[Window], imatrix: Imatrix | None, what: str
) -> list[Sums]:
    """Sums per recipe and window. Some tensors of the loaded model cannot be probed, such as copies
    on another device. A recipe that changes one of them is written to a file and compared.
    """
    measured = study.session.lab.probe(
        study.model.path,
        recipes,
        [w.as_json() for w in windows],
        imatrix=imatrix,
        kept=_kept(study, recipes, imatrix),
        progress=study.reading(_step(what), len(recipes) * len(windows)),
    )
    unseen = measured.missing & {t.name for t in study.model.loaded}
    return [
        _compared(study, types, windows, imatrix)
        if unseen & (types.keys() - study.choices.copied(types))
        else sums
        for types, sums in zip(recipes, measured.probes, strict=True)
    ]


def reading_of(types: Mapping[str, str], rows: Sequence[Mapping[str, float]]) -> Reading:
    """What a recipe loses, and its standard error over windows, from its sums per window."""
    per_window = np.array([r["kld"] / r["n"] for r in rows])
    spread = float(per_window.std(ddof=1) / np.sqrt(len(rows))) if len(rows) > 1 else 0.0
    return Reading(
        types=types,
        kld=float(sum(r["kld"] for r in rows) / sum(r["n"] for r in rows)),
        standard_error=spread,
    )


def _compared(
    study: Study, types: Mapping[str, str], windows: Sequence[Window], imatrix: Imatrix | None
) -> Sums:
    """Sums per window of a file that is written for the comparison and removed."""
    with trial_file(study, types, imatrix) as written:
        return study.session.lab.compare(
            study.model.path,
            [written.path],
            [w.as_json() for w in windows],
            progress=study.progress(say("texts read with a trial file")),
        )[0]


def _kept(
    study: Study, recipes: Recipes, imatrix: Imatrix | None
) -> tuple[Path, dict[str, dict[str, str]]] | None:
    """The folder in which the quantized tensors of these recipes are kept, for the next probes and
    for writing, and their file names by tensor and type; None if they are too many.
    """
    blobs, own_types = study.blobs, study.choices.own_types
    by_name = {t.name: t for t in study.tensors}
    n_bytes = {
        (name, type_): by_name[name].bytes_as(BY_NAME[type_])
        for types in recipes
        for name, type_ in types.items()
        if type_ != own_types[name]
    }
    if not blobs.takes(sum(n_bytes.values())):
        return None
    names: dict[str, dict[str, str]] = {}
    digests = {name: vector_digest(imatrix, by_name[name]) for name, _ in n_bytes}
    for name, type_ in n_bytes:
        key = blob_key(study.sha256, name, type_, digests[name], lab_build())
        names.setdefault(name, {})[type_] = key
    there = {path.name for path in blobs.folder.iterdir()}
    blobs.make_room(
        sum(n for (name, type_), n in n_bytes.items() if names[name][type_] not in there)
    )
    return blobs.folder, names


def _step(what: str) -> str:
    """The name of a kind of probes, in words."""
    return {
        "probes": say("texts read to find which tensors matter"),
        "runs": say("texts read with whole mixes"),
        "single tensors": say("texts read to probe single tensors"),
        "tier": say("texts read to find the smallest mix of the tier"),
        "race": say("texts read to race the mix against presets"),
    }.get(what, what)
