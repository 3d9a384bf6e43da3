"""The files of the candidates: the source where it lies, and its levels, which are built when they
are needed and removed when they have lost.
"""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from hakaru.choosing.candidate import Candidate
from hakaru.choosing.steps import Level
from hakaru.models.model import Model
from hakaru.quantization.build import Recipe, copies_all, is_mix
from hakaru.quantization.levels import Levels
from hakaru.session import Session


class LevelFiles(Struct, kw_only=True, dict=True):
    """The source and its levels, by the names of their types."""

    session: Session
    source: Model
    recipes: dict[str, Recipe]  # of the levels, by type; a mix joins them on the way
    keep: frozenset[Path] = frozenset()  # files in use, which are not removed

    @cached_property
    def levels(self) -> Levels:
        """The levels that are kept on the disk."""
        return Levels(self.session, self.source)

    def level(self, recipe: Recipe) -> Level:
        """What a recipe would make of the source."""
        is_copy = copies_all(self.source, recipe.types)
        return Level(
            type=recipe.preset, weights_bytes=recipe.weights_bytes, bpw=recipe.bpw, is_copy=is_copy
        )

    def is_copy(self, type_: str) -> bool:
        """Whether a level would be the source, bit for bit."""
        recipe = self.recipes.get(type_)
        return recipe is not None and copies_all(self.source, recipe.types)

    def types(self, type_: str) -> Mapping[str, str]:
        """The types of a level's tensors; empty for the source."""
        return self.recipes[type_].types if type_ in self.recipes else {}

    def weights_bytes(self, type_: str) -> int:
        """The bytes of the weights at that type."""
        recipe = self.recipes.get(type_)
        return recipe.weights_bytes if recipe else self.source.weights_bytes

    def built(self, type_: str) -> Model:
        """The source, or the level of that type, built again if its file is gone."""
        recipe = self.recipes.get(type_)
        return self.levels.built(recipe) if recipe else self.source

    def sha256(self, type_: str) -> str | None:
        """The SHA-256 of the file of that type; None before the file was ever built."""
        recipe = self.recipes.get(type_)
        if recipe:
            return self.levels.known_sha256(recipe)
        return self.session.ledger.model_sha256(self.source)

    def identified(self, candidate: Candidate) -> Candidate:
        """The candidate with the hash of its file; a mix also with its types."""
        types = self.types(candidate.type) if is_mix(candidate.type) else None
        return replace(candidate, sha256=self.sha256(candidate.type), types=types)

    def remove(self, type_: str) -> None:
        """Remove a level's file, unless the file is in use. The level's figures stay in the
        ledger.
        """
        if recipe := self.recipes.get(type_):
            path = self.levels.path(recipe)
            if path not in self.keep:
                path.unlink(missing_ok=True)
