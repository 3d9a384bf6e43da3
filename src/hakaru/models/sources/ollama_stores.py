"""Where Ollama keeps its models: as the environment says, as the unit file of its service says, and
where packages put them.

Sources: ollama, envconfig/config.go and docs/faq (home, service user); packages of Arch Linux and
NixOS (/var/lib/ollama), the snap (/var/snap/ollama/common), Alpaca's flatpak; `podman volume` for
rootless containers.
"""

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

UNIT_FOLDERS: Final = (
    Path("/etc/systemd/system"),
    Path("/usr/lib/systemd/system"),
    Path("/lib/systemd/system"),
)
LARGEST_UNIT: Final = 2**16
_SETTING: Final = re.compile(
    r"^\s*Environment=.*?\bOLLAMA_MODELS=(?P<path>[^\"'\n]+?)[\"']?(\s+[\"']?[A-Z_]+=.*)?$",
    re.MULTILINE,
)
_HOMES: Final = ("/usr/share/ollama", "/var/lib/ollama", "/var/snap/ollama/common", "/opt/ollama")
_IN_HOME: Final = (
    ".ollama/models",
    ".var/app/com.jeffser.Alpaca/data/.ollama/models",
    ".local/share/containers/storage/volumes/ollama/_data/models",
    "snap/ollama/common/models",
)
_IN_PACKAGE: Final = (".ollama/models", "models", "")


def stores() -> tuple[Path, ...]:
    """The folders that may hold Ollama's models, those of this user first. If OLLAMA_MODELS is set,
    only that folder.
    """
    if named := os.environ.get("OLLAMA_MODELS"):
        return (Path(named).expanduser().absolute(),)
    of_user = [Path.home() / place for place in _IN_HOME]
    packaged = [Path(home) / place for home in _HOMES for place in _IN_PACKAGE]
    return tuple(dict.fromkeys([*of_user, *_by_service(), *packaged]))


def closed_stores() -> list[Path]:
    """Stores that are there but that this user may not read."""
    return [store for store in stores() if _exists(store / "manifests") is None]


def _exists(path: Path) -> bool | None:
    """True if `path` can be listed; None if this user may not look."""
    try:
        os.scandir(path).close()
    except PermissionError:
        return None
    except OSError:
        return False
    return True


def _by_service() -> Iterator[Path]:
    """The folders that the unit file of Ollama's service, or a drop-in of it, sets: so people move
    the store to a larger disk.
    """
    for folder in UNIT_FOLDERS:
        for unit in (*sorted(folder.glob("ollama.service.d/*.conf")), folder / "ollama.service"):
            with suppress(OSError, ValueError), unit.open("rb") as file:
                text = file.read(LARGEST_UNIT).decode("utf-8")
                yield from (Path(match["path"]).absolute() for match in _SETTING.finditer(text))
