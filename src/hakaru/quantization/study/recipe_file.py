"""The file of a recipe: written for good, or only to be measured."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from hakaru.formats.imatrix import Imatrix
from hakaru.language import say
from hakaru.models.model import Model
from hakaru.places import data_dir
from hakaru.quantization.journal import Journal
from hakaru.quantization.study.study import Study
from hakaru.quantization.writer import write_recipe


def written(
    study: Study,
    types: Mapping[str, str],
    imatrix: Imatrix | None,
    out: Path,
    *,
    file_type: int | None = None,
    split_bytes: int | None = None,
    overwrite: bool = False,
    journal: Journal | None = None,
) -> Model:
    """The model by this recipe at `out`, mostly from kept tensors; the options are those of
    `write_recipe`. Raises what `write_recipe` raises.
    """
    return write_recipe(
        study.session.lab,
        study.model,
        types,
        out,
        imatrix=imatrix.vectors(study.tensors) if imatrix else None,
        added=study.how_made(types, imatrix),
        blobs=study.blobs,
        source_sha256=study.sha256,
        progress=study.progress(say("tensors written to the file")),
        file_type=file_type,
        split_bytes=split_bytes,
        overwrite=overwrite,
        journal=journal,
    )


@contextmanager
def trial_file(study: Study, types: Mapping[str, str], imatrix: Imatrix | None) -> Iterator[Model]:
    """The model by this recipe in a file that is removed afterwards."""
    with TemporaryDirectory(dir=data_dir("models"), prefix="trial-") as folder:
        yield written(study, types, imatrix, Path(folder) / "trial.gguf")
