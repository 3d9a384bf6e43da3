"""The ranks of vLLM's replicas and the tunnels to them, started from the head and ended with it.

Each runs below `rank_keeper`, which ends all that came of it. What a rank says on its stdout comes
here: of the KV cache that it really has, and why it ended.
"""

import json
import re
import shlex
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from hakaru.clusters.ssh import SSH_FAILED, failed_there, host_of, is_here, run_there, ssh_command
from hakaru.deploying import rank_keeper
from hakaru.deploying.node_process import Process
from hakaru.deploying.token_probe import token_probe
from hakaru.engine.process import how_it_ended
from hakaru.errors import EngineRefused, NodeError, NodeUnready, WorkerLost
from hakaru.language import listed, say
from hakaru.pool import impatient_pool
from hakaru.serving.node_session import NodeSession

KEEPER: Final = Path(rank_keeper.__file__).read_text(encoding="utf-8")
GONE_WITHIN_S: Final = rank_keeper.ENDS_WITHIN_S + rank_keeper.KILLED_WITHIN_S + 5
SILENT_S: Final = 900.0
"""How long a replica that loads may say nothing."""
TOKEN_WITHIN_S: Final = 300.0
"""From its KV cache to its first token."""
PROBE_S: Final = 30
NEAR: Final = 0.03
"""By which part the KV cache may be smaller than planned; a larger one is told beyond it."""
_POOL: Final = re.compile(r"KV cache size: ([\d,]+) tokens")
_KEPT_LINES: Final = 40


class Rank:
    """One process on one node. `on_line` hears what it says."""

    def __init__(self, process: Process, on_line: Callable[[str], None]) -> None:
        self.process, self._on_line = process, on_line
        self._is_here = is_here(process.node.address)
        self._begin()

    def _begin(self) -> None:
        self._session: NodeSession | None = None
        self._reader: threading.Thread | None = None
        self._leader: int | None = None  # of its session on its node
        self._left = list[int]()
        self._tail = deque[str](maxlen=_KEPT_LINES)
        self.kv_tokens: int | None = None  # in the pool, as its log tells
        self.heard_at = time.monotonic()

    def start(self) -> None:
        """Start it. Raises MachineError where there is no ssh."""
        self._begin()
        process = self.process
        what = {"command": process.command, "environment": dict(process.environment)}
        session = NodeSession(self._command("keep", json.dumps(what)))
        self._session = session
        self._reader = threading.Thread(target=self._read, args=(session,), daemon=True)
        self._reader.start()

    def _command(self, *words: str) -> list[str]:
        kept = ["-I", "-c", KEEPER, *words]
        if self._is_here:
            return [sys.executable, *kept]
        return ssh_command(host_of(self.process.node), shlex.join(["python3", *kept]))

    def _read(self, session: NodeSession) -> None:
        with session.lines as lines:
            for line in lines:
                self.heard_at = time.monotonic()
                self._hear(line.rstrip())

    def _hear(self, line: str) -> None:
        word, _, rest = line.partition(" ")
        if word == "hakaru-rank" and self._leader is None:
            self._leader = int(rest)
        elif word == "hakaru-left":
            self._left.append(int(rest))
        elif line:
            self._tail.append(line)
            self._on_line(f"{self.process.node.name}: {line}")
            if told := _POOL.search(line):
                self.kv_tokens = int(told[1].replace(",", ""))

    @property
    def is_up(self) -> bool:
        """Whether its session still runs."""
        return self._session is not None and self._session.is_up

    def loss(self) -> NodeError | WorkerLost:
        """Why it is no more."""
        assert self._session and self._reader
        node, code = self.process.node, self._session.wait()
        self._reader.join(1)
        if code == rank_keeper.NO_PROGRAM and self._leader is None:
            return NodeUnready(
                "{node}: there is no {program} or no python3 there; put its folder into the PATH.",
                node=node.name,
                program=self.process.command[0],
            )
        if self.process.role == "tunnel" and code == SSH_FAILED:
            return failed_there(self.process.command[-1], code, "\n".join(self._tail), "ssh")
        if self._leader is None or (code == SSH_FAILED and not self._is_here):
            host = node.name if self._is_here else host_of(node)
            return failed_there(host, code, self._session.said(), "python3")
        return WorkerLost(
            "{node}: {name} ended ({how}): {line}",
            log=list(self._tail),
            node=node.name,
            name=self.process.name,
            how=how_it_ended(128 - code if code > 128 else code),
            line=self._reason(),
        )

    def _reason(self) -> str:
        """The last line that names an error, or the last one."""
        errors = [line for line in self._tail if "Error" in line]
        return (errors or [*self._tail] or ["-"])[-1]

    def stop(self) -> list[int]:
        """End it, and all that came of it; the processes that are left."""
        if self._session is None:
            return []
        code = self._session.end(GONE_WITHIN_S)
        if self._reader:
            self._reader.join(1)
        is_ended_in_order = code is not None and 0 <= code < SSH_FAILED
        if self._leader is not None and not is_ended_in_order:
            self._end_again(self._leader)
        return self._left

    def _end_again(self, leader: int) -> None:
        """End what a keeper left that was killed itself, or that ssh does not reach any more."""
        self._left = [leader]  # for all that is known
        with suppress(NodeError, subprocess.SubprocessError):
            if self._is_here:
                words = self._command("end", str(leader))
                told = subprocess.run(
                    words, capture_output=True, text=True, check=True, timeout=GONE_WITHIN_S
                ).stdout
            else:
                words = ["python3", "-I", "-c", KEEPER, "end", str(leader)]
                host = host_of(self.process.node)
                told = run_there(host, shlex.join(words), within_s=GONE_WITHIN_S)
            self._left = [int(pid) for pid in re.findall(r"^hakaru-left (\d+)$", told, re.M)]


class RankGroup:
    """The ranks of one replica, the first of which has the server, and the tunnel to it."""

    def __init__(
        self,
        ranks: Sequence[Rank],
        *,
        url: str,
        model: str,
        planned: int,
        place: int,
        note: Callable[[str], None],
    ) -> None:
        self.ranks, self.url, self._model, self._planned = ranks, url, model, planned
        self.place, self._note = place, note
        self._pool_at: float | None = None  # when its KV cache was told of

    def start(self) -> None:
        """Start all of them."""
        self._pool_at = None
        for rank in self.ranks:
            rank.start()

    def lost(self) -> Rank | None:
        """One that has ended."""
        return next((rank for rank in self.ranks if not rank.is_up), None)

    def gives_token(self) -> bool:
        """Whether it does by now. Raises NodeError or WorkerLost where a rank has ended, and
        EngineRefused where the KV cache is smaller than planned, or nothing comes any more.
        """
        if lost := self.lost():
            raise lost.loss()
        head = self.ranks[0]
        if head.kv_tokens is None:
            self._check_silence(max(rank.heard_at for rank in self.ranks), SILENT_S)
            return False
        if self._pool_at is None:
            self._check_pool(head.kv_tokens)
            self._pool_at = time.monotonic()
        probe = token_probe(self.url, self._model, within_s=PROBE_S)[1:]
        if subprocess.run([sys.executable, *probe], capture_output=True, check=False).returncode:
            self._check_silence(self._pool_at, TOKEN_WITHIN_S)
            return False
        return True

    def _check_pool(self, found: int) -> None:
        """A smaller pool has no place for the users of the plan; a larger one is only told."""
        node = self.ranks[0].process.node.name
        if found < (1 - NEAR) * self._planned:
            raise EngineRefused(
                "{node}: vLLM has a KV cache of {found:,} tokens, planned were {planned:,}; so the "
                "users do not go in as planned. The files, which compare nothing, are written "
                "without `run`.",
                node=node,
                found=found,
                planned=self._planned,
            )
        if found > (1 + NEAR) * self._planned:
            self._note(
                say(
                    "{node}: vLLM has a KV cache of {found:,} tokens, more than the {planned:,} of "
                    "the plan.",
                    node=node,
                    found=found,
                    planned=self._planned,
                )
            )

    def _check_silence(self, since: float, within_s: float) -> None:
        if time.monotonic() - since > within_s:
            raise EngineRefused(
                "vLLM on {nodes} gave no sign for {seconds:g} s, and no token; see what it said: "
                "hakaru logs",
                nodes=self.nodes,
                seconds=within_s,
            )

    @property
    def nodes(self) -> str:
        """Their names, for a sentence."""
        return listed(dict.fromkeys(rank.process.node.name for rank in self.ranks))

    def stop(self) -> None:
        """End all of them. Raises NodeError for what still runs."""
        with impatient_pool(len(self.ranks)) as pool:
            left = list(pool.map(Rank.stop, self.ranks))
        for rank, pids in zip(self.ranks, left, strict=True):
            if pids:
                raise NodeError(
                    "{node}: {name} may still run; look there, and end it: {command}",
                    node=rank.process.node.name,
                    name=rank.process.name,
                    command=f"kill -9 {' '.join(map(str, pids))}",
                )
