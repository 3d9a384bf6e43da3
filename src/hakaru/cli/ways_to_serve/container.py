"""`hakaru serve --generate containerfile|compose|quadlet`: the command line that was typed, in a
container.

No image of hakaru is published, so the image is built from what this hakaru was installed from
(PEP 610). The container runs as the person who typed, never as root, with no capability, the model
read-only, the memory of the plan, and a volume for what hakaru keeps: trusted hashes, what loads
taught it, logs. A container whose port is published has a network, on which nothing keeps it from
asking out but HF_HUB_OFFLINE. Docker forbids user namespaces inside, and so bubblewrap: there the
server stands on an internal network, behind a door that forwards its port. Podman allows them, once
/proc is not masked: there the engine has no network, and the gateway has one.
Sources: the Compose Specification; podman-systemd.unit(5), podman-run(1); Docker's seccomp profile.
"""

import csv
import io
import json
import os
import shlex
import sys
from collections.abc import Iterable, Iterator, Sequence
from importlib.metadata import PackageNotFoundError, distribution
from math import ceil
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from msgspec import Struct

from hakaru.cli.ways_to_serve.service_unit import STOPPED_WHILE_LOADING
from hakaru.deploying.compose_files import escaped
from hakaru.deploying.manifest import as_yaml
from hakaru.deploying.unit_words import quoted
from hakaru.language import say
from hakaru.serving.port import DEFAULT_PORT

KEYS: Final = "/run/secrets/hakaru-keys"
"""Where the server finds its keys: a container's own address is not this machine's, so it demands
one.
"""
HOME: Final = "/home/hakaru"
"""Of every user there: the image lets all write in it, and a new volume is made like it."""
BESIDE: Final = 2**29
"""Bytes of memory for the gateway, beside the plan of the model."""
SPARE: Final = 1.1
"""The plan is to fit the limit with the share that hakaru keeps free."""
PODMAN_S: Final = 10
"""Seconds for Podman itself, after the container had its time to end."""
_HEALTH: Final = f"http://127.0.0.1:{DEFAULT_PORT}/health"
HEALTHY: Final = (
    "python",
    "-c",
    f"import urllib.request as r; r.build_opener(r.ProxyHandler({{}})).open('{_HEALTH}', None, 5)",
)
"""The server is healthy once a token was generated, while the engine answers. The door, too: it
asks through itself, and past the proxy that Docker may name to every container. A check takes 0.05
s of a processor.
"""
CHECKED_EVERY: Final = "10s"


class Contained(Struct, frozen=True, kw_only=True):
    """A command line for a container."""

    words: tuple[str, ...]  # behind `hakaru`; files by the paths that they have in the container
    files: tuple[Path, ...]  # that it reads, as they are called on this machine
    keys: Path  # a file with keys, one a line
    host: str  # the address of this machine at which the port is published
    port: int
    memory_bytes: int  # that the container may take
    stops_within_s: int
    model: str


def limit_of(planned_bytes: int) -> int:
    """What a container may take whose plan is `planned_bytes`, in whole MiB."""
    return ceil((planned_bytes * SPARE + BESIDE) / 2**20) * 2**20


def command_inside(words: Iterable[str]) -> tuple[str, ...]:
    """The words as the container runs them: without what is said of the address outside."""
    inside = ("--host", "0.0.0.0", "--insecure", "--port", str(DEFAULT_PORT))
    return (*words, *inside, "--api-key-file", KEYS)


def containerfile() -> str:
    """What builds the image."""
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    return "\n".join(
        (
            f"FROM docker.io/library/python:{python}-slim",
            "RUN apt-get update && \\",
            "    apt-get install -y --no-install-recommends bubblewrap libgomp1 socat",
            *_installed(),
            f"RUN mkdir -m 1777 {HOME}",
            f"ENV HOME={HOME} HF_HUB_OFFLINE=1",
            "USER 10001",
            'ENTRYPOINT ["hakaru"]',
        )
    )


def source() -> Path | None:
    """The folder from which this hakaru was installed; None: it came from an index or a server."""
    url = _origin()
    return Path(unquote(urlsplit(url).path)) if url.startswith("file:") else None


def _installed() -> Iterator[str]:
    if (folder := source()) and folder.is_dir():
        yield "COPY pyproject.toml README.md LICENSE constraints.txt /src/"
        yield "COPY src /src/src"
        yield "COPY docs/hakaru.1 /src/docs/"
        yield "RUN pip install --no-cache-dir --constraint /src/constraints.txt /src"
    elif folder:
        yield f"COPY {json.dumps([folder.name, '/'])}"
        yield f"RUN pip install --no-cache-dir {shlex.quote(f'/{folder.name}')}"
    else:
        url = _origin()
        wanted = f"hakaru @ {url}" if url else f"hakaru=={distribution('hakaru').version}"
        yield f"RUN pip install --no-cache-dir {shlex.quote(wanted)}"


def _origin() -> str:
    """The address from which this hakaru was installed; empty: it came from an index."""
    try:
        told = json.loads(distribution("hakaru").read_text("direct_url.json") or "{}")
    except PackageNotFoundError:
        return ""
    url = str(told.get("url", ""))
    if vcs := told.get("vcs_info"):
        return f"{vcs['vcs']}+{url}@{vcs['commit_id']}"
    return url


def context() -> Path:
    """The folder from which the image is built."""
    folder = source()
    if folder is None:
        return Path.cwd()
    return folder if folder.is_dir() else folder.parent


def compose(contained: Contained) -> str:
    """The file for `docker compose` or `podman-compose`."""
    reads = [
        {"type": "bind", "source": str(file.resolve()), "target": str(file), "read_only": True}
        for file in contained.files
    ]
    reads.append({"type": "volume", "source": "home", "target": HOME})
    build = {"context": str(context()), "dockerfile_inline": containerfile() + "\n"}
    locked = {
        "image": "localhost/hakaru",
        "user": _user(),
        "read_only": True,
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
        "restart": "unless-stopped",
        "healthcheck": {
            "test": ["CMD", *HEALTHY],
            "interval": CHECKED_EVERY,
            "timeout": "10s",
            "start_period": "10m",
        },
    }
    server = locked | {
        "build": build,
        "command": [*contained.words, "--no-private"],
        "networks": ["inside"],
        "tmpfs": ["/tmp"],
        "volumes": reads,
        "secrets": ["hakaru-keys"],
        "mem_limit": contained.memory_bytes,
        "memswap_limit": contained.memory_bytes,
        "stop_grace_period": f"{contained.stops_within_s}s",
    }
    door = locked | {
        "depends_on": ["hakaru"],
        "entrypoint": ["socat"],
        "command": [f"TCP-LISTEN:{DEFAULT_PORT},fork,reuseaddr", f"TCP:hakaru:{DEFAULT_PORT}"],
        "networks": ["inside", "outside"],
        "ports": [f"{_published(contained.host)}:{contained.port}:{DEFAULT_PORT}"],
    }
    file = {
        "name": "hakaru",
        "services": {"hakaru": server, "door": door},
        "networks": {"inside": {"internal": True}, "outside": {}},
        "volumes": {"home": {}},
        "secrets": {"hakaru-keys": {"file": str(contained.keys.absolute())}},
    }
    return "\n".join(
        (
            f"# hakaru serves {contained.model}. The server stands on a network without a way",
            "# out; the door alone forwards its port. The image has the engine for processors.",
            as_yaml(escaped(file)).rstrip("\n"),
        )
    )


def _published(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def quadlet(contained: Contained) -> str:
    """The unit for Podman's generator, of a container of the person who typed it."""
    mounts = [_mount(file) for file in contained.files]
    keys, limit = KEYS.rpartition("/")[2], contained.memory_bytes
    return "\n".join(
        (
            "# The gateway has a network, since its port is published: it asks nothing out, but",
            "# nothing keeps it from asking. The engine has none where bubblewrap may work. The",
            "# image has the engine for processors; build it by the file that --generate",
            f"# containerfile prints, in {context()}",
            "[Unit]",
            f"Description=hakaru serves {contained.model.replace('%', '%%')}",
            "",
            "[Container]",
            "Image=localhost/hakaru:latest",
            f"Exec={' '.join(map(quoted, contained.words))}",
            f"PublishPort={_published(contained.host)}:{contained.port}:{DEFAULT_PORT}",
            *mounts,
            f"Volume=hakaru-home:{HOME}",
            f"Secret={keys},type=mount,mode=0444",
            *(["UserNS=keep-id"] if os.getuid() else []),  # only of a person's own containers
            *map("=".join, zip(("User", "Group"), _user().split(":"), strict=True)),
            "ReadOnly=true",
            "DropCapability=all",
            "NoNewPrivileges=true",
            f"PodmanArgs=--memory={limit} --memory-swap={limit}",
            "# bubblewrap makes a /proc of its own, which no masked one allows",
            "PodmanArgs=--security-opt=unmask=/proc/*",
            f"PodmanArgs=--stop-timeout={contained.stops_within_s}",
            # a list, since the generator cuts off a quotation mark at the end
            f"HealthCmd={json.dumps(HEALTHY)}",
            f"HealthInterval={CHECKED_EVERY}",
            "HealthTimeout=10s",
            "HealthStartPeriod=10m",
            "",
            "[Service]",
            "Restart=on-failure",
            "RestartSec=5",
            f"TimeoutStopSec={contained.stops_within_s + PODMAN_S}",
            *STOPPED_WHILE_LOADING,
            "",
            "[Install]",
            "WantedBy=default.target",
        )
    )


def _mount(file: Path) -> str:
    """A file, read-only, under its own name: one word, in which Podman reads the fields of CSV."""
    text = io.StringIO()
    fields = ("type=bind", f"source={file.resolve()}", f"destination={file}", "readonly=true")
    csv.writer(text, lineterminator="").writerow(fields)
    return f"Mount={quoted(text.getvalue())}"


def how_to_build() -> str:
    """What to do with the file that builds the image."""
    build = f"podman build -t localhost/hakaru -f FILE {shlex.quote(str(context()))}"
    return say("Build the image with it: {command}", command=build)


def how_to_run(keys: Path, *, is_compose: bool) -> Sequence[str]:
    """What to do with the file, in sentences. Compose mounts the keys as they are on this machine,
    so the container's user must be able to read them.
    """
    file = shlex.quote(str(keys))
    make = f"hakaru key add container > {file}"
    told = [] if keys.is_file() else [say("Clients need a key; make one: {command}", command=make)]
    if is_compose and not os.getuid():
        own = f"chown {_user()} {file}"
        told.append(say("The container's user must read the keys: {command}", command=own))
    if is_compose:
        told.append(say("Put it into compose.yaml, then: docker compose up --wait"))
    else:
        told.append(
            say(
                "Put it into ~/.config/containers/systemd/hakaru.container, then: podman secret "
                "create hakaru-keys {keys} && systemctl --user daemon-reload && systemctl --user "
                "start hakaru",
                keys=file,
            )
        )
    return told


def _user() -> str:
    """The container's user and group: the person's own, and for root nobody in particular."""
    return f"{os.getuid() or 10001}:{os.getgid() or 10001}"
