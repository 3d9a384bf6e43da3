"""Which server a person means: by its port, or by the name of a model of it."""

from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path

from hakaru.errors import ModelNotFound
from hakaru.language import listed
from hakaru.servers import Deployment


def is_called(server: Deployment, word: str) -> bool:
    """Whether `word` is the name or the file of this model, or the URL where it is."""
    names = (server.path, Path(server.path).name, server.backend)
    return word in names or server.model.lower() == word.lower()


def named(word: str, servers: Sequence[Deployment]) -> list[Deployment]:
    """The models of the one server that `word` names: a port, or the name or the file of a model.
    Raises ModelNotFound with the nearest names where there is none, and with the ports where there
    are several.
    """
    found = [s for s in servers if word in (str(s.port), s.model, s.path, Path(s.path).name)]
    found = found or [s for s in servers if is_called(s, word)]
    ports = sorted({server.port for server in found})
    if len(ports) == 1:
        return [server for server in servers if server.port == ports[0]]
    if ports:
        raise ModelNotFound(
            "'{name}' is served at the ports {ports}; name one of them.",
            name=word,
            ports=listed(str(port) for port in ports),
        )
    if not servers:
        raise ModelNotFound(
            "no server of hakaru's runs on this machine, so none is '{name}'.", name=word
        )
    names = [text for server in servers for text in (server.model, str(server.port))]
    near = get_close_matches(word.lower(), [name.lower() for name in names], cutoff=0.5)
    nearest = [name for name in names if name.lower() in near] or names
    raise ModelNotFound(
        "no server of hakaru's is '{name}'; the nearest are {names}.",
        name=word,
        names=listed(dict.fromkeys(nearest)),
    )
