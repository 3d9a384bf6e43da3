"""What `hakaru ps` says."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from hakaru.cli.output import next_step, print_text, show_table
from hakaru.cli.paste import pasted
from hakaru.cli.table import Cell, Column, Table, bytes_cell
from hakaru.cli.tell.two_ways import spoken_time
from hakaru.cli.wrapping import whole
from hakaru.hardware.accelerators import GpuUser
from hakaru.language import say
from hakaru.servers.holding import NO_ANSWER, NOT_LOADED, Holding, Stranger
from hakaru.units import common_unit

_STYLES: Final = {"ready": "green", "loading": "yellow", NOT_LOADED: ""}


def print_holdings(holdings: Sequence[Holding], strangers: Sequence[Stranger]) -> None:
    """The servers, the others, and what to type next."""
    here = [holding for holding in holdings if not holding.server.backend]
    elsewhere = [holding for holding in holdings if holding.server.backend]
    if here:
        show_table(servers_table(here))
    if elsewhere:
        print_text(say("Backends that answer for servers of hakaru's:"))
        show_table(backends_table(elsewhere))
    if not holdings:
        print_text(say("No server of hakaru's runs on this machine."))
        print_text(say("To start one: {command}", command=whole("hakaru serve MODEL.gguf")))
    if strangers:
        print_text(say("Others with memory on a GPU:"))
        show_table(strangers_table(strangers))
    if holdings:
        next_step(pasted("hakaru", "logs", str(holdings[0].server.port)))


def servers_table(holdings: Sequence[Holding]) -> Table:
    """One row for each model of each server."""
    gpus = _gpus(holdings)
    columns = [
        Column(say("name"), left=True, overhangs=True),
        Column(say("port"), below=1),
        Column(say("process"), below=1, goes=3),
        Column(say("state"), left=True, below=1),
        Column("RAM", below=1, shortens=(1,)),
        *(Column(title, below=2, shortens=(1,)) for title in gpus.values()),
        Column(say("context"), below=3, goes=4),
        Column(say("answers"), below=3),
        Column(say("started"), below=3, shortens=(2,)),
        Column(say("idle for"), below=3),
    ]
    sizes = [n for s in holdings for n in (s.ram_bytes, *(u.bytes for u in s.gpus)) if n]
    unit = common_unit(*(sizes or [0]))
    return Table(columns, [_row(holding, gpus, unit) for holding in holdings])


def backends_table(holdings: Sequence[Holding]) -> Table:
    """One row for each backend of each server."""
    columns = [
        Column(say("backend"), left=True, overhangs=True),
        Column(say("model"), left=True, below=2),
        Column(say("port"), below=1),
        Column(say("state"), left=True, below=1),
        Column(say("answers"), below=1),
        Column(say("answered"), below=3),
        Column(say("errors"), below=2),
        Column(say("prompts"), left=True, below=1),
    ]
    rows: list[list[str | Cell]] = [
        [
            str(holding.server.backend),
            holding.server.model,
            str(holding.server.port),
            Cell(_state(holding.state), style=_STYLES.get(holding.state, "red")),
            _answers(holding),
            _count(holding.n_answered),
            _count(holding.n_failed),
            _where(holding.is_on_this_machine),
        ]
        for holding in holdings
    ]
    return Table(columns, rows)


def _count(n: int | None) -> str:
    return "?" if n is None else f"{n:,}"


def _where(is_on_this_machine: bool | None) -> str:
    if is_on_this_machine is None:
        return "?"
    return say("stay on loopback") if is_on_this_machine else say("leave this machine")


def strangers_table(strangers: Sequence[Stranger]) -> Table:
    """One row for each process on each GPU."""
    columns = [
        Column(say("program"), left=True, overhangs=True),
        Column(say("process"), below=1),
        Column("GPU", left=True, below=1),
        Column(say("memory"), below=1, shortens=(1,)),
    ]
    unit = common_unit(*([s.user.bytes for s in strangers if s.user.bytes] or [0]))
    rows: list[list[str | Cell]] = [
        [s.name or "?", str(s.user.pid), _gpu(s.user), bytes_cell(s.user.bytes, unit)]
        for s in strangers
    ]
    return Table(columns, rows)


def _gpus(holdings: Sequence[Holding]) -> dict[int, Cell]:
    """The GPUs on which a server of ours has memory, by number."""
    return {u.number: Cell(_gpu(u), f"GPU {u.number}") for s in holdings for u in s.gpus}


def _gpu(user: GpuUser) -> str:
    return f"{user.number}: {user.device}"


def _row(holding: Holding, gpus: dict[int, Cell], unit: str) -> list[str | Cell]:
    server, held = holding.server, {user.number: user.bytes for user in holding.gpus}
    n_ctx, is_loaded = server.settings.get("n_ctx"), holding.server.is_loaded
    started = datetime.fromtimestamp(server.started, UTC).astimezone()
    return [
        server.model,
        str(server.port),
        str(server.pid),
        Cell(_state(holding.state), style=_STYLES.get(holding.state, "red")),
        bytes_cell(holding.ram_bytes if is_loaded else None, unit),
        *(bytes_cell(held.get(number), unit) for number in gpus),
        f"{n_ctx:,}" if isinstance(n_ctx, int) else "?",
        _answers(holding),
        Cell(f"{started:%Y-%m-%d %H:%M}", f"{started:%H:%M}"),
        "-" if holding.idle_s is None else spoken_time(holding.idle_s),
    ]


def _answers(holding: Holding) -> str:
    """How many answers are on their way of how many at once, and how many requests wait:
    `3/4 +2`.
    """
    if holding.n_answering is None:
        return "?"
    waiting = f" +{holding.n_waiting}" if holding.n_waiting else ""
    return f"{holding.n_answering}/{holding.server.n_slots or '?'}{waiting}"


def _state(state: str) -> str:
    return {
        "ready": say("ready"),
        "loading": say("loading"),
        "silent": say("hangs"),
        "failed": say("failed"),
        "stopped": say("is stopping"),
        "lost": say("lost"),
        "draining": say("draining"),
        NOT_LOADED: say("not loaded"),
        NO_ANSWER: say("no answer"),
    }.get(state, state)
