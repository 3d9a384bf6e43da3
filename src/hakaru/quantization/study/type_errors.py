"""The error that each type makes in each tensor, on a sample of its weights."""

from typing import Final

from hakaru.engine.builds import lab_build
from hakaru.engine.sampled_errors import sampled_errors
from hakaru.formats.imatrix import Imatrix
from hakaru.language import say
from hakaru.quantization.choices import TYPES
from hakaru.quantization.importance_file import vector_digest
from hakaru.quantization.study.study import Study, imatrix_digest
from hakaru.quantization.tensor_tasks import needs_importance

KIND: Final = "quantization errors"
GLANCE: Final = {"n_rows": 4, "n_weights": 2**12}
"""The sample of every tensor at a glance."""
ASKS_IMPORTANCE: Final = "IQ2_S"
"""Without importance data only the embedding and the output may have this type of 2.56 bits per
weight, and there Q2_K has 2.63. It is not worth its grid: ggml makes the grid anew in every process
that quantizes to it, in 3.8 s of processor time (AMD EPYC).
"""


def type_errors(study: Study, imatrix: Imatrix | None) -> dict[str, dict[str, float]]:
    """Relative squared error by tensor and type, for the types that can be written with this
    importance data; 0 for a tensor's own type, since a copy loses nothing. A tensor whose rows no
    type's blocks divide is left out: it keeps its type.
    """
    without_importance = {t.name for t in study.tensors if vector_digest(imatrix, t) is None}
    writable = {
        name: {
            type_: error
            for type_, error in row.items()
            if not (name in without_importance and needs_importance(name, type_))
            and (imatrix or type_ != ASKS_IMPORTANCE)
        }
        for name, row in _sampled(study, imatrix).items()
    }
    own_types = study.choices.own_types
    return {name: {**row, own_types[name]: 0.0} for name, row in writable.items() if row}


def _sampled(study: Study, imatrix: Imatrix | None) -> dict[str, dict[str, float]]:
    """The errors of TYPES, on a sample as large as the effort draws; at a glance on a small one
    unless the large one is remembered.
    """
    sample = {"n_rows": study.sampling.n_rows, "n_weights": study.sampling.n_weights}
    inputs = {
        "model": study.sha256, "engine": lab_build(), "types": TYPES,
        "imatrix": imatrix_digest(imatrix), "columns": "bounded", **sample,
    }  # fmt: skip
    if study.glance and study.session.ledger.recall(KIND, inputs) is None:
        inputs, sample = {**inputs, **GLANCE}, GLANCE

    def sampled() -> dict[str, dict[str, float]]:
        errors = sampled_errors(
            study.model.path,
            [type_ for type_ in TYPES if imatrix or type_ != ASKS_IMPORTANCE],
            tensors=[t.name for t in study.tensors],
            imatrix=imatrix,
            progress=study.progress(say("tensors sampled for how types round them")),
            **sample,
        )
        return {
            name: {type_: error for type_, (error, _) in row.items()}
            for name, row in errors.items()
        }

    return study.session.ledger.remembered(KIND, inputs, sampled)
