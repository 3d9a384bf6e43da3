"""A GGUF file at a web address, with all parts of a split model, which lie beside the file."""

import shlex
from hashlib import sha256
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

import platformdirs

from hakaru.errors import ModelNotFound
from hakaru.formats.pieces import joining, piece_of
from hakaru.formats.split import part_names
from hakaru.models.sources.found import Found
from hakaru.models.sources.reference import Address
from hakaru.models.sources.shelf import Wanted, answered, stand_ins
from hakaru.models.sources.web import web_client


def find_at_address(address: Address) -> Found:
    """The file at `address` if `hakaru pull` brought it, else a stand-in. Raises ModelNotFound,
    Offline, ModelDamaged and ModelUnknown.
    """
    if path := pulled_from(address):
        return Found(path=path, origin=str(address), complete=True)
    return answered(str(address), lambda _: _stand_in_for(address))


def pulled_from(address: Address) -> Path | None:
    """The first part of the model, if `hakaru pull` brought all of them."""
    kept = [path for _, path in parts_at(address)]
    return kept[0] if all(path.is_file() for path in kept) else None


def pulled_room() -> Path:
    """Where the files of web addresses lie, in a folder for each model."""
    return Path(platformdirs.user_data_dir("hakaru"), "pulled")


def parts_at(address: Address) -> list[tuple[str, Path]]:
    """The addresses of all parts of the model, and where the pulled files lie: in the data
    directory, in a folder for the address of the first part. Raises ModelNotFound for an address
    that names no file.
    """
    base = urlsplit(address.url)
    folder_url, _, name = base.path.rpartition("/")
    name = unquote(name)
    if not name or "/" in name or name in {".", ".."} or len(name) > 200 or not name.isprintable():
        raise ModelNotFound(
            "{url}: names no file; expected such as https://host/model.gguf.", url=address
        )
    names = part_names(name)
    urls = [base._replace(path=f"{folder_url}/{quote(part)}").geturl() for part in names]
    folder = sha256(str(Address(url=urls[0])).encode()).hexdigest()[:16]
    room = pulled_room() / folder
    return [(url, room / part) for url, part in zip(urls, names, strict=True)]


def _stand_in_for(address: Address) -> Found:
    parts = parts_at(address)
    name = unquote(urlsplit(address.url).path.rpartition("/")[2])
    piece = piece_of(name)
    if piece and piece.certain and (piece.marked or piece.count):
        raise joining(str(address), piece.whole, (name,))
    wanted = tuple(Wanted(url=url, name=path.name) for url, path in parts)
    with web_client() as client:
        folder, version, fetched = stand_ins(client, str(address), wanted, {})
    return Found(
        path=folder / wanted[0].name,
        origin=str(address),
        complete=False,
        version=version,
        fetch=shlex.join(["hakaru", "pull", str(address)]),
        fetched_bytes=fetched,
    )
