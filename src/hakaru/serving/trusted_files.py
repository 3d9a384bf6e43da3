"""The files that an engine loads, held against those that were served before (see `trust`).

A model that is served for the first time is trusted, and remembered while it answers already: by
the hash that the ledger has of it, as of everything that was pulled or measured, or by reading the
file then.
"""

import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from pathlib import Path

from hakaru import trust
from hakaru.engine.mode import Mode
from hakaru.errors import HakaruError
from hakaru.ledger import Ledger, sha256_of
from hakaru.models.model import Model


def files_loaded(model: Model, mode: Mode) -> tuple[Path, ...]:
    """Every file whose numbers the engine computes with."""
    return (*model.parts, *mode.files)


def check_trusted(paths: Iterable[Path], ledger: Ledger) -> Callable[[], None]:
    """Raises ModelDamaged for a file that is not the one that was served before. Returns what
    remembers the new ones, to be called when the model answers.
    """
    new = trust.check(paths, partial(sha256_of, watch=ledger.watch))
    known = {path: sha256 for path in new if (sha256 := ledger.known_sha256(path))}

    def remember() -> None:
        # a full disk, or a file that is gone meanwhile, keeps nobody from serving
        with suppress(HakaruError, OSError):
            trust.accept(new, lambda path: known.get(path) or sha256_of(path))

    return threading.Thread(target=remember, daemon=True).start if new else lambda: None
