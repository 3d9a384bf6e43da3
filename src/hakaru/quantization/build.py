"""Building a quantized file: written beside its target, read back, compared with the plan, and only then given its name."""

import errno
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from hakaru.errors import EngineError, EngineRefused, MachineError, Misuse
from hakaru.models.model import Model, read_model
from hakaru.places import disk_error, written_whole
from hakaru.quantization.presets import ftype_of, quantized_bytes
from hakaru.units import format_bytes

DISK_FULL_BYTES: Final = 2**20


class Quantizer(Protocol):
    """What building needs of the engine."""

    def quantized_types(self, path: Path, ftypes: Sequence[int]) -> Sequence[Mapping[str, str]]: ...

    def quantize(self, path: Path, out: Path, ftype: int, *, progress: Callable[[int, int], None]) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Which type every tensor gets, and the bytes of the weights that follow."""

    preset: str
    types: Mapping[str, str]
    weights_bytes: int
    bpw: float


def plan_presets(engine: Quantizer, model: Model, presets: Sequence[str]) -> list[Recipe]:
    """What llama.cpp's quantizer would do with `model` at each preset: exact types and bytes, nothing written. Raises
    Misuse.
    """
    named = [ftype_of(preset) for preset in presets]
    plans = engine.quantized_types(model.path, [ftype for _, ftype in named])
    recipes = []
    for (name, _), types in zip(named, plans, strict=True):
        n_bytes = quantized_bytes(model.tensors, types)
        recipes.append(Recipe(preset=name, types=types, weights_bytes=n_bytes, bpw=8 * n_bytes / model.n_params))
    return recipes


def build(
    engine: Quantizer,
    model: Model,
    recipe: Recipe,
    out: Path,
    *,
    overwrite: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Model:
    """Write `model` by `recipe` to `out` and return the new model, read back and verified.

    Raises Misuse (the target is the source or exists), MachineError (full or read-only disk), EngineRefused (what was
    written is not what was planned). Whatever happens, `out` is whole or absent.
    """
    check_target(model, out, overwrite=overwrite)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(out.parent).free
    except OSError as error:
        raise disk_error(error, out) from error
    needed = recipe.weights_bytes + model.data_offset
    if free < needed:
        raise MachineError(
            "{path}: the disk has {free} free, but the file needs {needed}; free some space or choose another place.",
            path=out,
            free=format_bytes(free),
            needed=format_bytes(needed),
        )
    with written_whole(out) as part:
        part.touch()  # a read-only place is noticed here, before the work
        try:
            engine.quantize(model.path, part, ftype_of(recipe.preset)[1], progress=progress)
        except EngineError as error:
            if shutil.disk_usage(out.parent).free < DISK_FULL_BYTES:  # the engine only says that it could not write
                raise disk_error(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), out) from error
            raise
        _verify(read_model(part), model, recipe)
    return read_model(out)


def check_target(model: Model, out: Path, *, overwrite: bool) -> None:
    """Raises Misuse where `out` may not be written: the source itself, no regular file, or an existing one without `overwrite`."""
    if not out.exists():
        return
    if out.samefile(model.path):
        raise Misuse("{path}: is the source itself; name another file with -o.", path=out)
    if not out.is_file():
        raise Misuse("{path}: is no regular file; name a file with -o.", path=out)
    if not overwrite:
        raise Misuse("{path}: exists already; name another file with -o, or add --overwrite.", path=out)


def _verify(written: Model, source: Model, recipe: Recipe) -> None:
    found = {t.name: (t.shape, t.type.name) for t in written.tensors}
    expected = {t.name: (t.shape, recipe.types.get(t.name, t.type.name)) for t in source.tensors}
    if found != expected:
        wrong = next(name for name in {**expected, **found} if found.get(name) != expected.get(name))
        raise EngineRefused(
            "the quantized file is not what was planned: {name} is {found}, expected {expected}; nothing was kept.",
            name=wrong,
            found=found.get(wrong),
            expected=expected.get(wrong),
        )
