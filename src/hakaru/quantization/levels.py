"""The levels of a source, kept on the disk: a level is the file of a recipe, built once."""

import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from msgspec import Struct

from hakaru.engine.builds import lab_build
from hakaru.evaluation.losses import Row, divergences, known_rows, room_beside
from hakaru.evaluation.memory_groups import W, in_groups
from hakaru.evaluation.windows import Window
from hakaru.language import say
from hakaru.memory.settings import F16_CACHE, Cache
from hakaru.models.model import Model, read_model
from hakaru.places import data_dir
from hakaru.quantization.build import Recipe, build, spoken_name
from hakaru.session import Session


class Levels(Struct, frozen=True):
    """The levels of one source, in one session."""

    session: Session
    source: Model

    def path(self, recipe: Recipe) -> Path:
        """Where the level is kept: a place of its own for every source, preset and engine build."""
        source = self.session.ledger.model_sha256(self.source)
        folder = data_dir("models", f"{source[:12]}-{lab_build().replace(' ', '-')}")
        return folder / f"{self.source.path.stem}-{recipe.preset}.gguf"

    def known_sha256(self, recipe: Recipe) -> str | None:
        """The SHA-256 of the level if it was ever built here, though its file may be gone."""
        build = self.session.ledger.recall("build", self._inputs(recipe))
        return str(build["sha256"]) if build else None

    def built(self, recipe: Recipe) -> Model:
        """The level in the data directory, built unless its file is there, whole and unchanged."""
        out, sha256, ledger = self.path(recipe), self.known_sha256(recipe), self.session.ledger
        if sha256 and out.is_file() and ledger.sha256(out) == sha256:
            return read_model(out)

        step = say("tensors built for {type}", type=spoken_name(recipe.preset))
        progress = partial(self.session.watch, step)
        made = build(self.session.lab, self.source, recipe, out, overwrite=True, progress=progress)
        ledger.remember("build", self._inputs(recipe), {"sha256": ledger.sha256(out)})
        return made

    def groups(self, several: Sequence[W]) -> list[list[W]]:
        """Levels in groups whose files fit together into half of the free memory beside their
        source, and into half of the free disk.
        """
        disk = shutil.disk_usage(data_dir()).free // 2
        return in_groups(several, min(room_beside(self.session, self.source), disk))

    def losses(
        self,
        recipes: Sequence[Recipe | None],
        windows: Sequence[Window],
        n: int,
        *,
        cache: Cache = F16_CACHE,
    ) -> list[list[Row]]:
        """What each recipe, run with this KV cache, loses against the source on the first `n`
        windows. A recipe of None is the source itself. A level is built only if its losses are not
        remembered.
        """
        session, source = self.session, self.source
        hashes, files, names = list[str](), dict[str, Path](), list[str]()
        for recipe in recipes:
            sha256 = self.known_sha256(recipe) if recipe else session.ledger.model_sha256(source)
            if sha256 is None or len(known_rows(session, sha256, source, windows, cache)) < n:
                path = self.built(recipe).path if recipe else source.path
                sha256 = session.ledger.sha256(path)
                files[sha256] = path
                names.append(spoken_name(recipe.preset) if recipe else say("source"))
            hashes.append(sha256)
        read = divergences(
            session, files, source, windows, n=n, cache=cache, name=say(", ").join(names)
        )
        return [
            read[sha256]
            if sha256 in read
            else known_rows(session, sha256, source, windows, cache)[:n]
            for sha256 in hashes
        ]

    def _inputs(self, recipe: Recipe) -> dict[str, object]:
        return {
            "source": self.session.ledger.model_sha256(self.source),
            "preset": recipe.preset,
            "engine": lab_build(),
        }
