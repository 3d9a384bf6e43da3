"""The Hugging Face Hub, and its cache in place.

The library huggingface_hub tells the address of the Hub, the person's token, the offline mode and
the place of the cache. `web` makes the requests, so that they are bounded, tried again and refused
like all others. A file that lies whole in the cache is used there. A repository without GGUF files
becomes a folder like that of a local checkpoint: config.json, the index, and a stand-in for every
safetensors file.
"""

import shlex
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any, Final
from urllib.parse import quote

import httpx

from hakaru.errors import HakaruError, ModelDamaged, Offline
from hakaru.formats.bounded_json import bounded_json
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


def hub_endpoint() -> str:
    """The Hub's address: HF_ENDPOINT, or the public one."""
    from huggingface_hub import constants

    return str(constants.ENDPOINT)


def hub_headers() -> dict[str, str]:
    """The headers of every request to the Hub: the person's token, if there is one."""
    from huggingface_hub import constants, get_token

    token = None if constants.HF_HUB_DISABLE_IMPLICIT_TOKEN else get_token()
    return {"Authorization": f"Bearer {token}"} if token else {}


def find_at_hub(wanted: HubFile) -> Found:
    """The model that `wanted` means: in the cache if it is whole there, else a stand-in.

    Raises ModelNotFound, Offline, ModelDamaged and ModelUnknown.
    """
    if wanted.file and (cached := _in_cache(wanted)):
        return cached
    try:
        found = answered(f"{hub_endpoint()} {wanted}", lambda old: _ask_hub(wanted, old))
    except Offline:
        if cached := _in_cache(wanted):
            return cached
        raise
    origin = parse_reference(found.origin)
    if not isinstance(origin, HubFile):
        return found
    return _in_cache(replace(origin, revision=wanted.revision)) or found


def _ask_hub(wanted: HubFile, old: Found | None) -> Found:
    """A stand-in for the model; the `old` one if the repository has not changed."""
    headers = hub_headers()
    with web_client() as client:
        commit, files = _listing(client, wanted, headers)
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
            RemoteFile(client, _url(wanted, commit, name), headers) as remote,
        ):
            remote.open()
            metadata, n_tensors = first_keys(name, size=remote.size, read=remote.read)
            return name, role_of(metadata, n_tensors)
        return None

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return dict(row for row in pool.map(named_role, names) if row)


def _listing(
    client: httpx.Client, wanted: HubFile, headers: Mapping[str, str]
) -> tuple[str, dict[str, int | None]]:
    """The commit of the wanted revision, and all its files with their bytes.

    Source: the Hub's API, GET /api/models/{repo}/revision/{revision}?blobs=true.
    """
    url = f"{hub_endpoint()}/api/models/{wanted.repo}"
    url += f"/revision/{quote(wanted.revision, safe='')}" if wanted.revision else ""
    try:
        answer: Any = bounded_json(read_small(client, f"{url}?blobs=true", headers))
        commit = str(answer["sha"])
        rows = [(row["rfilename"], row.get("size")) for row in answer["siblings"]]
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ModelDamaged(
            "{url}: is no answer of a Hugging Face Hub; check HF_ENDPOINT.", url=url
        ) from error
    files = {
        name: size if type(size) is int and size >= 0 else None
        for name, size in rows
        if _is_plain(name)
    }
    return commit, files


def _is_plain(name: object) -> bool:
    """True if a stranger's file name may become the name of a file on this machine."""
    return (
        isinstance(name, str)
        and 0 < len(name) < 250
        and name.isprintable()
        and not {"..", ".", "/", ""} & set(name.split("/"))
    )


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
        Wanted(url=_url(wanted, commit, part), name=PurePosixPath(part).name)
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
        fetch=shlex.join(["hf", "download", wanted.repo, *choice.parts]),
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
        Wanted(url=_url(wanted, commit, name), name=name)
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
    command, brought = _download(wanted, files, weights.names)
    return Found(
        path=folder,
        origin=str(replace(wanted, file=None)),
        complete=False,
        version=commit,
        fetch=command,
        fetched_bytes=fetched,
        download_bytes=brought,
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
    return read_small(client, _url(wanted, commit, name), headers) if name in files else None


def _download(
    wanted: HubFile, files: Mapping[str, int | None], weights: Collection[str]
) -> tuple[str, int | None]:
    """The command that brings the model without the same weights in other forms, and its bytes
    (None if the Hub does not tell).
    """
    large = {name for name, size in files.items() if (size or 0) >= LARGE and name not in weights}
    left_out = sorted({f"{name.partition('/')[0]}/*" if "/" in name else name for name in large})
    skipped = {
        name
        for name in files
        for pattern in left_out
        if name == pattern or name.startswith(pattern.removesuffix("*") if "*" in pattern else "\0")
    }
    sizes = [size for name, size in files.items() if name not in skipped]
    known_sizes = [size for size in sizes if size is not None]
    command = ["hf", "download", wanted.repo]
    command += ["--revision", wanted.revision] if wanted.revision else []
    command += [word for pattern in left_out for word in ("--exclude", pattern)]
    return shlex.join(command), sum(known_sizes) if len(known_sizes) == len(sizes) else None


def _url(wanted: HubFile, commit: str, name: str) -> str:
    return f"{hub_endpoint()}/{wanted.repo}/resolve/{quote(commit, safe='')}/{quote(name)}"


def _in_cache(wanted: HubFile) -> Found | None:
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

    room = Path(constants.HF_HUB_CACHE) / f"models--{wanted.repo.replace('/', '--')}"
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
