"""The Hugging Face Hub, and its cache in place.

The library huggingface_hub tells the address of the Hub, the person's token, the offline mode and
the place of the cache. `web` makes the requests, so that they are bounded, tried again and refused
like all others. A file that lies whole in the cache is used there. A repository without GGUF files
becomes a folder like that of a local checkpoint: config.json, the index, and a stand-in for every
safetensors file.
"""

import shlex
from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Final

import httpx
from msgspec.structs import replace

from hakaru.errors import HakaruError, Offline
from hakaru.formats.gguf import first_keys
from hakaru.formats.split import parts_missing
from hakaru.models.kinds import role_of
from hakaru.models.sources.checkpoint import CONFIG, QUANT_CONFIGS
from hakaru.models.sources.choice import (
    Choice,
    Roles,
    choices,
    choose,
    companions_of,
    matching,
    named_file,
    roles_of_files,
)
from hakaru.models.sources.found import Found
from hakaru.models.sources.hub_listing import file_url, hub_endpoint, hub_headers, list_files
from hakaru.models.sources.hub_rooms import room_name
from hakaru.models.sources.reference import HubFile, parse_reference
from hakaru.models.sources.remote import Changed, RemoteFile
from hakaru.models.sources.shards import INDEXES, refuse_other_folders, weight_files
from hakaru.models.sources.shelf import AT_ONCE, Wanted, answered, stand_ins
from hakaru.models.sources.web import MAX_SMALL, read_small, web_client
from hakaru.places import written_whole

LARGE: Final = 50 * 2**20
"""A larger file beside the weights holds weights, too: a tokenizer has at most 40 MB."""
MAX_PEEKED: Final = 40
"""If more files may be meant, no headers are read, and the names tell the roles."""
SMALL_FILES: Final = (CONFIG, *INDEXES, *QUANT_CONFIGS)


def find_at_hub(wanted: HubFile) -> Found:
    """The model that `wanted` means: in the cache if it is whole there, else a stand-in.

    Raises ModelNotFound, Offline, ModelDamaged and ModelUnknown.
    """
    if wanted.file and (cached := in_cache(wanted)):
        return cached
    try:
        found = answered(f"{hub_endpoint()} {wanted}", lambda old: _ask_hub(wanted, old))
    except Offline:
        if cached := in_cache(wanted):
            return cached
        raise
    origin = parse_reference(found.origin)
    if not isinstance(origin, HubFile):
        return found
    return in_cache(replace(origin, revision=wanted.revision)) or found


def _ask_hub(wanted: HubFile, old: Found | None) -> Found:
    """A stand-in for the model; the `old` one if the repository has not changed."""
    headers = hub_headers()
    with web_client() as client:
        listing = list_files(client, wanted, headers)
        commit, files = listing.commit, listing.files
        if old and old.version == commit:
            return old
        roles: dict[str, str | None] = {}
        models = choices(files)
        if not models and wanted.file in {None, "config.json"}:
            refuse_other_folders(
                str(wanted),
                files,
                lambda name: _content(client, wanted, commit, name, files, headers),
            )
        if not models and "config.json" in files and wanted.file in {None, "config.json"}:
            return _folder(client, wanted, commit, files, headers)
        meant = matching(models, wanted.file) if wanted.file else models
        ggufs = sorted(name for name in files if name.lower().endswith(".gguf"))
        peeked = [choice.name for choice in meant] or ggufs
        if len(meant) != 1 and len(peeked) <= MAX_PEEKED:
            roles = _roles(client, wanted, commit, peeked, headers)
            models = choices(files, roles)
        named = named_file(files, wanted.file) if wanted.file else None
        if wanted.file and named and not matching(models, wanted.file):
            models = (*models, named)  # a file in another role: reading it raises the error
        choice = choose(str(wanted), models, wanted.file, files, roles)
        return _gguf(client, wanted, commit, choice, files, roles, headers)


def _roles(
    client: httpx.Client,
    wanted: HubFile,
    commit: str,
    names: Sequence[str],
    headers: Mapping[str, str],
) -> dict[str, str | None]:
    """The roles of these files, by the first kilobytes of their headers; files that cannot be read
    are left out.
    """

    def named_role(name: str) -> tuple[str, str | None] | None:
        with (
            suppress(HakaruError, Changed),
            RemoteFile(client, file_url(wanted.repo, commit, name), headers) as remote,
        ):
            remote.open()
            metadata, n_tensors = first_keys(name, size=remote.size, read=remote.read)
            return name, role_of(metadata, n_tensors)
        return None

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return dict(row for row in pool.map(named_role, names) if row)


def _gguf(
    client: httpx.Client,
    wanted: HubFile,
    commit: str,
    choice: Choice,
    files: Mapping[str, int | None],
    roles: Roles,
    headers: Mapping[str, str],
) -> Found:
    parts = tuple(
        Wanted(url=file_url(wanted.repo, commit, part), name=PurePosixPath(part).name)
        for part in choice.parts
    )
    missing = [part for part in choice.parts if part not in files]
    if missing:
        raise parts_missing(str(wanted), missing, len(parts))
    folder, _, fetched = stand_ins(
        client, f"{hub_endpoint()} {wanted}", parts, headers, version=commit
    )
    return Found(
        path=folder / parts[0].name,
        origin=str(replace(wanted, file=choice.name)),
        complete=False,
        companions=companions_of(files, roles),
        version=commit,
        fetch=shlex.join(["hakaru", "pull", str(replace(wanted, file=choice.name))]),
        fetched_bytes=fetched,
    )


def _folder(
    client: httpx.Client,
    wanted: HubFile,
    commit: str,
    files: Mapping[str, int | None],
    headers: Mapping[str, str],
) -> Found:
    small = {
        name: content
        for name in SMALL_FILES
        if (content := _content(client, wanted, commit, name, files, headers)) is not None
    }
    weights = weight_files(str(wanted), files, small.get)
    parts = tuple(
        Wanted(url=file_url(wanted.repo, commit, name), name=name)
        for name in weights.names
        if not weights.is_pickled
    )
    folder, _, fetched = stand_ins(
        client, f"{hub_endpoint()} {wanted}", parts, headers, version=commit
    )
    for name, content in small.items():
        fetched += len(content)
        with written_whole(folder / name) as part:
            part.write_bytes(content)
    for name in weights.names if weights.is_pickled else ():
        with (folder / name).open("wb") as hole:
            hole.truncate(files[name] or 0)
    return Found(
        path=folder,
        origin=str(replace(wanted, file=None)),
        complete=False,
        version=commit,
        fetch=shlex.join(["hakaru", "pull", str(replace(wanted, file=None))]),
        fetched_bytes=fetched,
        download_bytes=_sum(files[name] for name in of_checkpoint(files, weights.names)),
        base_repo=wanted.repo,
    )


def _content(
    client: httpx.Client,
    wanted: HubFile,
    commit: str,
    name: str,
    files: Mapping[str, int | None],
    headers: Mapping[str, str],
) -> bytes | None:
    """A small file of the repository, or None where there is none."""
    return (
        read_small(client, file_url(wanted.repo, commit, name), headers) if name in files else None
    )


def of_checkpoint(files: Mapping[str, int | None], weights: Collection[str]) -> list[str]:
    """The files of a checkpoint with these `weights`, without the same weights in other forms: a
    folder with another large file is left out, and so is a large file beside the weights.
    """
    large = {name for name, size in files.items() if (size or 0) >= LARGE and name not in weights}
    folders = {name.partition("/")[0] for name in large if "/" in name}
    return sorted(
        name for name in files if name not in large and name.partition("/")[0] not in folders
    )


def _sum(sizes: Iterable[int | None]) -> int | None:
    """The sum, or None if one of the sizes is not known."""
    known = list(sizes)
    return None if None in known else sum(size or 0 for size in known)


def in_cache(wanted: HubFile) -> Found | None:
    """The model, if it lies whole in the Hugging Face cache. Raises ModelNotFound if several models
    there may be meant.
    """
    folder = _snapshot(wanted)
    if folder is None:
        return None
    cached = {
        path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()
    }
    sizes: dict[str, int | None] = {name: path.stat().st_size for name, path in cached.items()}
    roles = roles_of_files(cached)
    models = tuple(
        model for model in choices(sizes, roles) if all(part in cached for part in model.parts)
    )
    if not models:
        if wanted.file is not None or not _is_whole_folder(cached):
            return None
        origin = str(replace(wanted, file=None))
        return Found(path=folder, origin=origin, complete=True, version=folder.name)
    if wanted.file and not matching(models, wanted.file):
        return None
    choice = choose(str(wanted), models, wanted.file)
    return Found(
        path=cached[choice.name],
        origin=str(replace(wanted, file=choice.name)),
        complete=True,
        companions=companions_of(sizes, roles, cached),
        version=folder.name,
    )


def _snapshot(wanted: HubFile) -> Path | None:
    """The folder of the cache with the files of the wanted revision.

    Source: huggingface_hub, "Understand caching": models--org--repo/{refs/<name>,
    snapshots/<commit>/<files>}.
    """
    from huggingface_hub import constants

    room = Path(constants.HF_HUB_CACHE) / room_name(wanted.repo)
    revision = wanted.revision or "main"
    with suppress(OSError, ValueError):
        revision = (room / "refs" / revision).read_text(encoding="utf-8").strip()
    folder = room / "snapshots" / revision
    return folder if folder.is_dir() else None


def _is_whole_folder(cached: Mapping[str, Path]) -> bool:
    """True if the configuration and every weight file lie in the cache."""
    sizes: dict[str, int | None] = {name: path.stat().st_size for name, path in cached.items()}
    try:
        weight_files("", sizes, lambda name: _cached(cached.get(name)))
    except (HakaruError, OSError):
        return False
    return CONFIG in cached


def _cached(path: Path | None) -> bytes | None:
    if path is None:
        return None
    with path.open("rb") as file:
        return file.read(MAX_SMALL)
