"""A GGUF file at a web address, with all parts of a split model, which lie beside the file."""

import shlex
from urllib.parse import quote, unquote, urlsplit

from hakaru.errors import ModelNotFound
from hakaru.formats.pieces import joining, piece_of
from hakaru.formats.split import part_names
from hakaru.models.sources.found import Found
from hakaru.models.sources.reference import Address
from hakaru.models.sources.shelf import Wanted, answered, stand_ins
from hakaru.models.sources.web import web_client


def find_at_address(address: Address) -> Found:
    """A stand-in for the file at `address`. Raises ModelNotFound, Offline, ModelDamaged and
    ModelUnknown.
    """
    return answered(str(address), lambda _: _stand_in_for(address))


def _stand_in_for(address: Address) -> Found:
    folder_url, _, name = urlsplit(address.url).path.rpartition("/")
    name = unquote(name)
    if not name or "/" in name or name in {".", ".."} or len(name) > 200 or not name.isprintable():
        raise ModelNotFound(
            "{url}: names no file; expected such as https://host/model.gguf.", url=address
        )
    piece = piece_of(name)
    if piece and piece.certain and (piece.marked or piece.count):
        raise joining(str(address), piece.whole, (name,))
    base = urlsplit(address.url)
    wanted = tuple(
        Wanted(url=base._replace(path=f"{folder_url}/{quote(part)}").geturl(), name=part)
        for part in part_names(name)
    )
    with web_client() as client:
        folder, version, fetched = stand_ins(client, str(address), wanted, {})
    command = "curl -L --remote-name-all " + " ".join(
        shlex.quote(str(Address(url=part.url))) for part in wanted
    )
    return Found(
        path=folder / wanted[0].name,
        origin=str(address),
        complete=False,
        version=version,
        fetch=command,
        fetched_bytes=fetched,
    )
