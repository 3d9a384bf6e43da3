"""Where a fetched file is kept, under which names it is found, and when it is named.

A file of the Hub lies where huggingface_hub keeps it, so that every program finds it there:

    <cache>/models--org--repo/blobs/<sha256>               the file; .incomplete until it is whole
    <cache>/models--org--repo/snapshots/<commit>/<name>    a link to it
    <cache>/models--org--repo/refs/<revision>              the commit

Source: huggingface_hub, "Understand caching". A file of another server lies in the data directory,
in a folder for its address (`models/sources/address.py`).
"""

import os
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Final

from msgspec import Struct

from hakaru.errors import MachineError
from hakaru.ledger import Ledger
from hakaru.models.sources.hub_listing import Listing, file_url, hub_endpoint, is_hash, no_hub
from hakaru.models.sources.hub_rooms import room_name
from hakaru.models.sources.web import shown
from hakaru.places import written_whole
from hakaru.pulling.transfer import Remote, size_of

PART: Final = "part of a download"
"""Of the ledger's rows."""


class File(Struct, frozen=True, kw_only=True):
    """One file to fetch, and its place."""

    name: str  # for people
    remote: Remote
    sha256: str | None  # as the server announces it; None: it does not
    kept: Path  # the file, when it is whole and checked
    part: Path  # what came of it so far
    link: Path  # the name under which it is found; `kept` itself where there is no other
    ref: tuple[Path, str] | None = None  # a file of the cache, and the commit that it names

    @property
    def is_here(self) -> bool:
        """Whether nothing has to be fetched."""
        return self.kept.is_file()

    @property
    def missing_bytes(self) -> int | None:
        """What has to be fetched still; None: the server tells when it answers."""
        if self.is_here:
            return 0
        return None if self.remote.bytes is None else self.remote.bytes - size_of(self.part)

    @property
    def lock(self) -> str:
        """The name of the lock of whoever fetches it."""
        return pull_lock(self.kept)

    def make_room(self) -> None:
        """Make the folders. Raises OSError."""
        for path in (self.kept, self.link, *([self.ref[0]] if self.ref else [])):
            path.parent.mkdir(parents=True, exist_ok=True)

    def name_it(self) -> None:
        """Give the checked file its names. Raises OSError."""
        if self.part.exists():
            with self.part.open("rb+") as file:
                os.fsync(file.fileno())
            self.part.replace(self.kept)
        if self.link != self.kept and not self.link.exists():
            self.link.unlink(missing_ok=True)  # a link to nothing
            with suppress(FileExistsError):
                self.link.symlink_to(os.path.relpath(self.kept, self.link.parent))
        if self.ref:
            with written_whole(self.ref[0]) as text:
                text.write_text(self.ref[1], encoding="utf-8")


def remember_name(ledger: Ledger, file: File) -> None:
    """Let the ledger know of which file a part is: its own name is a hash."""
    with suppress(MachineError):
        ledger.remember(PART, {"part": str(file.part)}, {"name": file.name})


def name_of_part(ledger: Ledger, part: Path) -> str | None:
    """The name of the file of which so much came; None for what another program began."""
    told = ledger.recall(PART, {"part": str(part)})
    return str(told["name"]) if told else None


def pull_lock(kept: Path) -> str:
    """The name of the lock of whoever fetches the file that will lie there."""
    return f"pull-{sha256(bytes(kept)).hexdigest()[:16]}"


def file_at_hub(listing: Listing, name: str, revision: str | None, headers: dict[str, str]) -> File:
    """This file of a repository, in the Hub's cache. Raises ModelDamaged for a commit that is
    none.
    """
    from huggingface_hub import constants

    commit = listing.commit
    if not is_hash(commit, 40):
        raise no_hub(hub_endpoint())
    room = Path(constants.HF_HUB_CACHE) / room_name(listing.repo)
    url = file_url(listing.repo, commit, name)
    blob = listing.sha256.get(name) or listing.blobs.get(name) or sha256(url.encode()).hexdigest()
    return File(
        name=name,
        remote=Remote(url=url, bytes=listing.files[name], is_fixed=True, headers=headers),
        sha256=listing.sha256.get(name),
        kept=room / "blobs" / blob,
        part=room / "blobs" / f"{blob}.incomplete",
        link=room / "snapshots" / commit / name,
        ref=None if revision == commit else (room / "refs" / (revision or "main"), commit),
    )


def file_at_address(url: str, kept: Path) -> File:
    """The file of this address, kept at that path."""
    return File(
        name=shown(url).rpartition("/")[2],
        remote=Remote(url=url, bytes=None, is_fixed=False, headers={}),
        sha256=None,
        kept=kept,
        part=kept.with_name(f"{kept.name}.part"),
        link=kept,
    )
