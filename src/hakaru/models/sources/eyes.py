"""The projector (mmproj) of a model that was found: a file beside it, at the Hub its header, and
for a model of the catalogue a stand-in by the shape of its tower.
"""

from pathlib import Path

from msgspec.structs import replace

from hakaru.errors import ModelNotFound
from hakaru.models.by_id import entry_called
from hakaru.models.kinds import PROJECTOR
from hakaru.models.sources.find import find_model
from hakaru.models.sources.found import Found
from hakaru.models.sources.reference import HubFile, parse_reference
from hakaru.models.towers import tower_header
from hakaru.places import header_dir


def projector_of(found: Found) -> Path:
    """A file with the header of the projector that belongs to the model. Raises ModelNotFound
    where there is none, and what `find_model` raises.
    """
    eyes = next((c for c in found.companions if c.role == PROJECTOR), None)
    if eyes and eyes.path:
        return eyes.path
    if found.origin.startswith("catalogue:"):
        return _stand_in(found)
    if eyes and found.origin.startswith("hf:") and found.stored is None:
        origin = parse_reference(found.origin)
        assert isinstance(origin, HubFile)
        return find_model(str(replace(origin, file=eyes.name))).path
    raise ModelNotFound(
        "{origin}: has no projector beside it, so the model cannot see; leave `vision` out, or "
        "name a projector file with `mmproj`.",
        origin=found.origin,
    )


def _stand_in(found: Found) -> Path:
    """The header of the projector in F16, then a hole, for a model of the catalogue."""
    entry = entry_called(found.origin.partition(":")[2])
    if entry.tower is None:
        raise ModelNotFound(
            "{origin}: the catalogue does not know its projector; name a repository that has one, "
            "as {example}, or a file with `mmproj`.",
            origin=entry.id,
            example=f"hf:{entry.gguf_repos[0] if entry.gguf_repos else 'ORG/REPO'}:Q4_K_M",
        )
    path = header_dir("catalogue", f"{entry.tower}-{entry.shape.n_embd}") / "mmproj-F16.gguf"
    return path if path.exists() else tower_header(entry.tower, entry.shape.n_embd).write(path)
