"""The part "Privacy" of the page: what listens, what is connected to other machines, and whether
the engine could reach a network at all. Each fact has its evidence, which is read from the system's
own tables when somebody looks.

The processes are hakaru's own and all below it. A system that does not show the sockets of a
process is believed nothing: the page says that it does not tell.
"""

import ipaddress
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import psutil
from starlette.requests import Request
from starlette.routing import BaseRoute, Route

from hakaru.errors import EngineDied
from hakaru.language import listed, say
from hakaru.serving.supervisor import Supervisor
from hakaru.units import format_bytes
from hakaru.web.cards import Card
from hakaru.web.lineup import Lineup
from hakaru.web.shared import piece


class Sockets(NamedTuple):
    """The internet sockets of all our processes."""

    listening: frozenset[str]  # addresses with ports
    within: int  # connections to this machine
    outward: frozenset[str]  # addresses of other machines


def privacy_part(lineup: Lineup) -> dict[str, Any]:
    """What the template shows, in the language in use."""
    fetched = say("Nothing is fetched from elsewhere unless somebody presses Fetch under Models.")
    return privacy_told(privacy_cards(engines_of(lineup)), fetched)


def privacy_told(cards: Sequence[Card], more: str) -> dict[str, Any]:
    """What the template shows of any server: its `cards`, what is true of all, and `more`."""
    return {
        "title": say("Privacy"),
        "text": say(
            "What the system's own tables say of hakaru's process and all processes below it, read "
            "when this was shown, and again every other second."
        ),
        "cards": cards,
        "sentences": [
            say("The server writes prompts and answers into no file."),
            more,
            say("Conversations of this page are kept by this browser, and nowhere else."),
            say(
                "This page may ask its own server alone: its content security policy lets the "
                "browser load and send nothing else."
            ),
        ],
    }


Engines = Sequence[tuple[str, Supervisor]]
"""The engines that run, with their models' names."""


def engines_of(lineup: Lineup) -> Engines:
    """Those of the models that are loaded."""
    return [(one.name, one.loaded.supervisor) for one in lineup.now() if one.loaded]


def privacy_cards(engines: Engines) -> list[Card]:
    """The facts and their evidence, in the language in use."""
    alone = len(engines) == 1
    cards = [
        _engine_card(
            supervisor,
            say("The engine's network")
            if alone
            else say("The network of the engine of {model}", model=name),
        )
        for name, supervisor in engines
    ]
    return [*_socket_cards(our_sockets()), *cards]


def _socket_cards(sockets: Sockets | None) -> list[Card]:
    listens, left = say("Listens at"), say("Connections to other machines")
    if sockets is None:
        note = say("The system does not show the sockets of these processes.")
        return [Card(label=name, value=say("not told"), note=note) for name in (listens, left)]
    is_local = all(is_this_machine(address) for address in sockets.listening)
    others = len(sockets.outward)
    return [
        Card(
            label=listens,
            value=listed(sorted(sockets.listening)) or say("nothing"),
            note=say("Only programs on this machine can connect.")
            if is_local
            else say("Other machines can connect."),
            kind="good" if is_local else "bad",
        ),
        Card(
            label=left,
            value=str(others),
            note=say("{n} connections are open, all within this machine.", n=sockets.within)
            if not others
            else say("To {addresses}.", addresses=listed(sorted(sockets.outward))),
            kind="bad" if others else "good",
        ),
    ]


def our_sockets() -> Sockets | None:
    """The sockets of this process and of all below it; None where the system does not tell."""
    listening, within, outward = set[str](), 0, set[str]()
    try:
        us = psutil.Process()
        for process in (us, *us.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                for socket in process.net_connections(kind="inet"):
                    if socket.status == psutil.CONN_LISTEN or not socket.raddr:
                        listening.add(_spelled(*socket.laddr[:2]))
                    elif is_this_machine(address := _spelled(*socket.raddr[:2])):
                        within += 1
                    else:
                        outward.add(address)
    except (psutil.Error, OSError):
        return None
    return Sockets(frozenset(listening), within, frozenset(outward))


def _spelled(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def is_this_machine(address: str) -> bool:
    """Whether an address with its port is on the loopback interface."""
    host = address.rpartition(":")[0].strip("[]").partition("%")[0]
    ip = ipaddress.ip_address(host)
    return (getattr(ip, "ipv4_mapped", None) or ip).is_loopback


def _engine_card(supervisor: Supervisor, label: str) -> Card:
    """Whether the engine has a network of its own, by the number of its namespace."""
    try:
        pid = supervisor.server.engine_pid
        own, ours = (_namespace(one) for one in (pid, os.getpid()))
        sent = dict(interfaces(Path(f"/proc/{pid}/net/dev").read_text(encoding="ascii")))
    except (EngineDied, OSError):
        note = say("Only Linux tells this, of an engine that runs.")
        return Card(label=label, value=say("not told"), note=note)
    if own == ours or set(sent) - {"lo"}:
        note = say(
            "It shares this machine's network. It listens at no address, only at a file (a Unix "
            "socket) that this server opens for it."
        )
        return Card(label=label, value=say("not isolated"), note=note)
    note = say(
        "It lives in a network of its own, number {number}. That has no way out: it has no other "
        "interface than lo, through which {bytes} went.",
        number=own,
        bytes=format_bytes(sum(sent.values())),
    )
    return Card(label=label, value=say("✓ isolated"), note=note, kind="good")


def _namespace(pid: int) -> str:
    """The number of a process's network namespace. Raises OSError."""
    return str(Path(f"/proc/{pid}/ns/net").readlink()).strip("net:[]")


def interfaces(table: str) -> Iterator[tuple[str, int]]:
    """The interfaces in a table such as /proc/net/dev, with the bytes that each has sent."""
    for line in table.splitlines()[2:]:
        name, _, numbers = line.partition(":")
        yield name.strip(), int(numbers.split()[8])


def privacy_routes(lineup: Lineup) -> list[BaseRoute]:
    """The route of the facts alone, for the page that shows them anew."""

    def now(request: Request) -> dict[str, Any]:
        return {"cards": privacy_cards(engines_of(lineup))}

    return [Route("/privacy/now", piece("cards.html", now))]
