"""`hakaru logs`: what a server and its engine said last."""

from dataclasses import dataclass

from hakaru.cli.output import print_aside
from hakaru.errors import ModelNotFound
from hakaru.language import say, without_controls
from hakaru.servers import log_of, running
from hakaru.servers.log_reading import following, last_lines
from hakaru.servers.named import named


@dataclass(frozen=True, kw_only=True)
class LogsOptions:
    """`hakaru logs`."""

    server: str
    lines: int
    follow: bool


def run(options: LogsOptions) -> int:
    """Print the lines. Raises ModelNotFound where there is no such server, and no log of one that
    ended.
    """
    servers = running()
    path = log_of(int(options.server)) if options.server.isdecimal() else None
    if path is None or not path.exists():
        path = log_of(named(options.server, servers)[0].port)
        if not path.exists():
            raise ModelNotFound(
                "{path}: this server could not write its log; the disk may be full.", path=path
            )
    server = next((s for s in servers if log_of(s.port) == path), None)
    if server is None:
        print_aside(say("The server at port {port} has ended.", port=options.server))
    if options.follow and server is not None:
        lines = following(path, options.lines, goes_on=lambda: server.is_alive)
    else:
        lines = iter(last_lines(path, options.lines))
    for line in lines:
        print(without_controls(line), flush=options.follow)
    return 0
