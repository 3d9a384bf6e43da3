"""The source of a quantization: a whole file that llama.cpp loads, converted first where it is a
Hugging Face folder.
"""

from collections.abc import Callable
from pathlib import Path

from msgspec import Struct

from hakaru.errors import EngineRefused, Misuse, ModelDamaged
from hakaru.language import say
from hakaru.models.model import Model, read_language_model
from hakaru.models.sources.checkpoint import convertible
from hakaru.models.sources.conversion import convert, installed_converter, needs_conversion
from hakaru.models.sources.find import Reference, find_model, read_whole
from hakaru.models.sources.found import Found
from hakaru.quantization.loadable import check_source
from hakaru.session import Session, Tell


class Source(Struct, frozen=True, kw_only=True):
    """The model to quantize, and where it comes from."""

    model: Model
    workplace: Path  # the path of the new file, but for the end of its name
    is_converted: bool  # from a Hugging Face folder

    def check_loads(self, session: Session) -> None:
        """Raises what `check_source` raises. A converted file that does not load is removed, so
        that the next call converts anew.
        """
        try:
            check_source(session.lab, self.model)
        except ModelDamaged as error:
            if not self.is_converted:
                raise
            self.model.path.unlink(missing_ok=True)
            raise EngineRefused(
                "the converter made a file that llama.cpp cannot load ({reason}); use the "
                "converter of a current llama.cpp, or fetch the folder again.",
                reason=error.fields.get("reason", error),
            ) from error


def find_source(
    model: Reference,
    session: Session,
    *,
    converter: Path | None,
    header_will_do: bool,
    preset: str | None,
    dry_run: bool,
    on_line: Callable[[str], None],
) -> Source:
    """The model that `model` names. With `header_will_do` only its header has to be here.
    `preset` is the type of the file that is to be made.

    `on_line` gets every line that the converter prints. Raises what `find_model`, `read_whole` and
    `convert` raise.
    """
    folder = model.path if isinstance(model, Model) else model
    is_converted = converter is not None or needs_conversion(str(folder))
    found = (
        _converted(str(folder), converter, session.note, dry_run=dry_run, on_line=on_line)
        if is_converted
        else find_model(model)
    )
    return Source(
        model=read_language_model(found.path)
        if header_will_do
        else read_whole(found, preset=preset),
        workplace=found.workplace,
        is_converted=is_converted,
    )


def _converted(
    folder: str,
    converter: Path | None,
    note: Tell,
    *,
    dry_run: bool,
    on_line: Callable[[str], None],
) -> Found:
    """The GGUF file that the converter makes of a checkpoint."""
    if needs_conversion(folder) and (kind := convertible(Path(folder).expanduser())):
        note(kind)
    converter = converter or installed_converter()
    if converter is None:
        raise Misuse(
            "{folder}: a Hugging Face folder becomes a GGUF file first, by llama.cpp's "
            "convert_hf_to_gguf.py; name it as `converter`.",
            folder=folder,
        )
    found = convert(folder, converter, dry_run=dry_run, on_line=on_line)
    note(say("Source: {path}, converted from {folder} and kept.", path=found.path, folder=folder))
    return found
