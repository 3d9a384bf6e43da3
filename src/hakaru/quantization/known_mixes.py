"""Mixes by their names: what `mix-1f2e3d4c` of a source is made of, as the ledger remembers it.

So a mix that was measured can be made again, byte by byte, without searching for it anew.
"""

import shlex
from typing import Final

from hakaru.errors import Misuse
from hakaru.models.model import Model
from hakaru.quantization.build import Recipe, mix_recipe
from hakaru.session import Session

KIND: Final = "mix"


def remember_mix(session: Session, source: Model, mix: Recipe) -> None:
    """Keep what a mix of this source is made of."""
    session.ledger.remember(KIND, _inputs(session, source, mix.preset), dict(mix.types))


def known_mix(session: Session, source: Model, name: str) -> Recipe:
    """The mix of this name. Raises Misuse for a name that no mix of this source has."""
    types = session.ledger.recall(KIND, _inputs(session, source, name))
    if types is None:
        raise Misuse(
            "`preset` is '{found}', but no mix of {source} has this name here; name a preset, or "
            "find the mix again with: hakaru tune {quoted}",
            found=name,
            source=source.path,
            quoted=shlex.quote(str(source.path)),
        )
    return mix_recipe(source, types)


def _inputs(session: Session, source: Model, name: str) -> dict[str, object]:
    return {"source": session.ledger.model_sha256(source), "mix": name}
