"""Importance data of a model, collected once per model and texts and kept as an imatrix file."""

import hashlib
import json
from contextlib import suppress
from pathlib import Path

from hakaru.engine.builds import lab_build
from hakaru.errors import MachineError
from hakaru.formats.imatrix import Imatrix, read_imatrix, write_imatrix
from hakaru.language import say
from hakaru.places import cache_dir
from hakaru.quantization.study.study import Study, tokens_digest


def importance_from(origin: str, study: Study) -> Imatrix | None:
    """Importance data from its `origin`: "none", "auto" (collected here; at a glance only if that
    was done before), or an imatrix file. Raises Misuse for a file of another model.
    """
    if origin == "none":
        return None
    if origin == "auto":
        return known_importance(study) if study.glance else importance(study)
    imatrix = read_imatrix(Path(origin))
    imatrix.check("`importance`", study.model.path, study.model.tensors)
    return imatrix


def importance(study: Study) -> Imatrix:
    """Importance from the calibration windows; read from the file where it was collected before."""
    path = _path(study)
    if not path.exists():
        collected = study.session.lab.importance(
            study.model.path,
            [w.as_json() for w in study.calibration],
            datasets=("hakaru calibration",),
            progress=study.progress(say("texts read for importance data")),
        )
        write_imatrix(path, collected)
    return read_imatrix(path)


def known_importance(study: Study) -> Imatrix | None:
    """Importance where it was collected before, else None."""
    with suppress(MachineError):  # nothing can be kept there, so nothing is
        path = _path(study)
        return read_imatrix(path) if path.exists() else None
    return None


def _path(study: Study) -> Path:
    inputs = json.dumps([study.sha256, tokens_digest(study.calibration), lab_build()])
    return cache_dir("importance") / f"{hashlib.sha256(inputs.encode()).hexdigest()}.gguf"
