"""`hakaru serve MODEL --generate systemd|compose|quadlet|containerfile`: the command line that was
typed, as a service or in a container. Nothing is served.
"""

from pathlib import Path
from typing import Final

from hakaru.cli.next_steps import words_typed
from hakaru.cli.output import print_aside
from hakaru.cli.ways_to_serve import ServeOptions, container
from hakaru.cli.ways_to_serve.one_model import model_to_serve
from hakaru.cli.ways_to_serve.service_unit import (
    absolute,
    how_to_start,
    service_unit,
    stops_within_s,
)
from hakaru.errors import Misuse
from hakaru.language import without_controls
from hakaru.servers import HOST
from hakaru.serving.plan_to_load import plan_to_load
from hakaru.serving.port import DEFAULT_PORT
from hakaru.session import Session

OF_ADDRESS: Final = frozenset(
    ("--generate", "--host", "--port", "--api-key-file", "--insecure", "--tls-key")
)
"""Options that a container has its own values for."""


def print_service(options: ServeOptions, session: Session) -> int:
    """Print the service for what was typed, once it is known that it can be served."""
    if options.api_key:
        raise Misuse(
            "`api_key` would stand in the file of the service, for all to read; name a file with "
            "`api_key_file`."
        )
    if options.generate != "systemd":
        return _print_container(options, session)
    what = model_to_serve(options, session)
    words = words_typed(without={"--generate"})
    print(service_unit(words, model=what.model.path.name, drain_s=options.drain))
    print_aside(how_to_start())
    return 0


def _print_container(options: ServeOptions, session: Session) -> int:
    """Print what runs it in a container."""
    if options.tls_cert:
        raise Misuse("`tls_cert` is not for a container; put TLS before its published port.")
    if options.generate == "compose" and options.private is not None:
        raise Misuse(
            "Docker lets nothing isolate itself inside a container: there the network without a "
            "way out is what keeps the server private; leave `private` out, or generate quadlet."
        )
    if options.generate == "containerfile":
        print(container.containerfile())
        print_aside(container.how_to_build())
        return 0
    what = model_to_serve(options, session)
    fit, _ = plan_to_load(*what, session, memory=options.memory)
    name, path = options.models[0], what.model.path.absolute()
    words = [
        str(path) if word == name else absolute(word) for word in words_typed(without=OF_ADDRESS)
    ]
    files = dict.fromkeys([*what.model.parts, *(Path(word) for word in words)])
    contained = container.Contained(
        words=container.command_inside(words),
        files=tuple(file.absolute() for file in files if file.is_absolute() and file.exists()),
        keys=options.api_key_file or Path("hakaru-keys.txt"),
        host=options.host or HOST,
        port=options.port or DEFAULT_PORT,
        memory_bytes=container.limit_of(fit.total_bytes),
        stops_within_s=stops_within_s(options.drain),
        model=without_controls(path.name),
    )
    is_compose = options.generate == "compose"
    print(container.compose(contained) if is_compose else container.quadlet(contained))
    for sentence in container.how_to_run(contained.keys, is_compose=is_compose):
        print_aside(sentence)
    return 0
