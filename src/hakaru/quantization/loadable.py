"""Whether llama.cpp can load a model: the source before anything is written, and the result before
it gets its name.

The quantizer goes tensor by tensor and does not notice what is missing: a file without a norm, with
a vocabulary of another length, or with tensors under other names quantizes well and loads nowhere.
A dry run lays the whole model out from its header, in a second and without its weights, so
llama.cpp's own loader refuses such a file and gives the reason.

Left out: whether the weights mean anything, which the measured loss tells; and files that are no
language model or only a part of one, which `models.kinds` tells before.
"""

import signal
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, Protocol

from hakaru.errors import EngineDied, EngineRefused, ModelDamaged, ModelError
from hakaru.memory.footprint import Footprint
from hakaru.memory.settings import ContextSettings
from hakaru.models.model import Model

SETTINGS: Final = ContextSettings(n_ctx=256)
_CRASHES: Final = frozenset(
    f"signal {int(number)}" for number in (signal.SIGABRT, signal.SIGSEGV, signal.SIGFPE)
)


class DryRunner(Protocol):
    """The part of the engine that checks need."""

    def dry_run(self, path: Path, settings: ContextSettings) -> Footprint: ...


def check_source(engine: DryRunner, source: Model) -> None:
    """Raises ModelDamaged, with llama.cpp's own reason, for a source that it cannot load."""
    _lay_out(engine, source.path)


def check_result(engine: DryRunner, parts: Sequence[Path], names: Sequence[str]) -> None:
    """Raises EngineRefused where llama.cpp cannot load what was written. `parts` are the files as
    they lie on the disk, `names` their names to be, by which llama.cpp finds the other parts of a
    split model.
    """
    try:
        if len(parts) == 1:
            _lay_out(engine, parts[0])
            return
        with TemporaryDirectory(prefix="hakaru-") as folder:
            for part, name in zip(parts, names, strict=True):
                (Path(folder) / name).symlink_to(part.absolute())
            _lay_out(engine, Path(folder) / names[0])
    except ModelError as error:
        raise EngineRefused(
            "llama.cpp cannot load the quantized file, though it loads the source ({reason}); "
            "nothing was kept: choose another type.",
            reason=error.fields.get("reason", "-"),
        ) from error


def _lay_out(engine: DryRunner, path: Path) -> None:
    """Have llama.cpp lay the model out. Raises ModelError."""
    try:
        engine.dry_run(path, SETTINGS)
    except EngineRefused as error:
        raise _damaged(path, str(error.fields.get("reason", "-"))) from error
    except EngineDied as error:
        if error.fields.get("how") not in _CRASHES:
            raise
        raise _damaged(path, str(error.fields.get("last", "-"))) from error


def _damaged(path: Path, reason: str) -> ModelDamaged:
    return ModelDamaged(
        "{path}: llama.cpp cannot load it ({reason}); fetch the file again or choose another "
        "model.",
        path=path,
        reason=reason,
    )
