"""`hakaru stop`: the end of a server that runs elsewhere on this machine."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from hakaru.cli.output import next_step, print_aside, print_text
from hakaru.cli.paste import pasted
from hakaru.errors import Misuse, ModelNotFound
from hakaru.language import listed, say
from hakaru.servers import Deployment, running
from hakaru.servers.ending import drain, end, unload
from hakaru.servers.named import is_called, named


@dataclass(frozen=True, kw_only=True)
class StopOptions:
    """`hakaru stop`."""

    server: str | None
    all: bool


def run(options: StopOptions) -> int:
    """End the servers and tell of each when it is gone. Raises ModelNotFound where there is
    none.
    """
    servers = running()
    if (options.server is None) != options.all:
        raise Misuse("name one server, by its model or its port, or all of them with --all.")
    if (word := options.server) is not None:
        models = named(word, servers)
        if backend := next((model for model in models if model.backend == word), None):
            return _drain(backend)
        if len(models) > 1 and word != str(models[0].port) and not models[0].backend:
            return _unload(next(model for model in models if is_called(model, word)))
        return _end(models)
    if not servers:
        raise ModelNotFound("no server of hakaru's runs on this machine: nothing was stopped.")
    for port in dict.fromkeys(server.port for server in servers):
        _end([server for server in servers if server.port == port])
    return 0


def _end(models: Sequence[Deployment]) -> int:
    """End the one server of these models."""
    server, names = models[0], listed(model.model for model in models)
    print_aside(say("Stopping {models} at port {port} …", models=names, port=server.port))
    end(server, still_waiting=partial(print_aside, _waits()))
    print_text(say("Stopped: {models}, port {port}.", models=names, port=server.port))
    return 0


def _unload(model: Deployment) -> int:
    """Free the memory of one of several models; the server goes on. Raises MachineError."""
    name, port = model.model, model.port
    if not model.is_loaded:
        print_text(say("{model} is not loaded.", model=name))
    else:
        unload(model)
        print_text(
            say("Unloaded: {model}. The next request that names it loads it again.", model=name)
        )
    next_step(pasted("hakaru", "stop", str(port)))
    return 0


def _drain(backend: Deployment) -> int:
    """Send one of several backends nothing more; the gateway goes on. Raises MachineError."""
    drain(backend)
    print_text(
        say(
            "{backend} gets no more requests; those that it answers go on to their ends.",
            backend=backend.backend,
        )
    )
    next_step(pasted("hakaru", "ps"))
    return 0


def _waits() -> str:
    return say("It still answers; Ctrl-C leaves it to end by itself.")
