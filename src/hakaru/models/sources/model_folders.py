"""Where models lie on this machine: the folders of the programs that fetch them, the folders of
hakaru, and the current folder.

Each program's folder is found as the program itself finds it, by the same environment variables and
settings. Sources: huggingface_hub, constants.py (HF_HOME, HF_HUB_CACHE, XDG_CACHE_HOME); llama.cpp,
common/common.cpp (fs_get_cache_directory); LM Studio's `lms`, src/modelsFolder.ts
(`downloadsFolder` in settings.json) and findLMStudioHome (the pointer file);
`ollama_stores` for Ollama.
"""

import os
import platform
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

import platformdirs
from msgspec import Struct

from hakaru.errors import ModelNotFound
from hakaru.formats.bounded_json import bounded_json
from hakaru.models.embedded import embedded_model
from hakaru.models.sources.ollama_stores import stores

HUGGING_FACE, OLLAMA, LM_STUDIO, LLAMA_CPP, HAKARU, FOLDER, LEDGER = (
    "huggingface", "ollama", "lmstudio", "llama.cpp", "hakaru", "folder", "ledger",
)  # fmt: skip
LARGEST_SETTINGS: Final = 2**20
ALL_LEVELS: Final = 12
"""Folders below each other that are looked into: more than any program makes."""
NEAR: Final = 1
"""As deep as the current folder is looked into: it may be somebody's home."""


class ModelFolder(Struct, frozen=True, kw_only=True):
    """A folder in which models lie, or may lie."""

    program: str  # whose folder it is; FOLDER: a person's own
    path: Path
    depth: int = ALL_LEVELS


def model_folders() -> list[ModelFolder]:
    """Every folder where models may lie, whether it exists or not. The current folder is last."""
    return [
        ModelFolder(program=HUGGING_FACE, path=hub_cache()),
        *(ModelFolder(program=OLLAMA, path=store) for store in stores()),
        *(ModelFolder(program=LM_STUDIO, path=path) for path in lm_studio_folders()),
        ModelFolder(program=LLAMA_CPP, path=llama_cpp_cache()),
        *(ModelFolder(program=HAKARU, path=path) for path in _own_folders()),
        ModelFolder(program=FOLDER, path=Path.cwd(), depth=NEAR),
    ]


def hub_cache() -> Path:
    """The cache of the Hugging Face Hub, which llama.cpp fills, too."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)


def llama_cpp_cache() -> Path:
    """Where llama.cpp kept what `-hf` and `-mu` fetched before it used the Hub's cache."""
    if named := os.environ.get("LLAMA_CACHE"):
        return Path(named).absolute()
    if platform.system() == "Darwin":
        return Path.home() / "Library" / "Caches" / "llama.cpp"
    caches = os.environ.get("XDG_CACHE_HOME")
    return (Path(caches) if caches else Path.home() / ".cache") / "llama.cpp"


def lm_studio_folders() -> list[Path]:
    """The folders of LM Studio's models: as its settings say, and its usual ones."""
    homes = [Path.home() / ".lmstudio", Path.home() / ".cache" / "lm-studio"]
    with suppress(OSError, ValueError):
        pointer = Path.home() / ".lmstudio-home-pointer"
        if text := _small(pointer).decode("utf-8").strip():
            homes.insert(0, Path.home() / text)
    return list(dict.fromkeys(path for home in homes for path in _models_of(home)))


def _models_of(home: Path) -> Iterator[Path]:
    with suppress(OSError, ValueError):
        settings = bounded_json(_small(home / "settings.json"))
        named = settings.get("downloadsFolder") if isinstance(settings, dict) else None
        if isinstance(named, str) and named:
            yield home / Path(named).expanduser()
    yield home / "models"


def _own_folders() -> list[Path]:
    """The levels that `up` and `tune` built, the checkpoints that were converted, what `pull`
    brought from web addresses, and the folder of the model that comes with hakaru.
    """
    data = Path(platformdirs.user_data_dir("hakaru"))
    folders = [data / "models", data / "converted", data / "pulled"]
    with suppress(ModelNotFound):
        folders.append(embedded_model().parent)
    return folders


def _small(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(LARGEST_SETTINGS)
