"""The verb `conform`: every check asked of a server, one after the other."""

import time
from collections.abc import Sequence
from typing import Final

from anyio.from_thread import start_blocking_portal

from hakaru.conformance.api_address import find_api
from hakaru.conformance.every_check import every_check
from hakaru.conformance.peer import ENDPOINTS, Peer, meet
from hakaru.conformance.verdicts import (
    Check,
    Conformance,
    Outcome,
    Result,
    failed,
    skipped,
    unknown,
)
from hakaru.conformance.wire import NoAnswer, Wire
from hakaru.errors import Interrupted, Misuse
from hakaru.language import listed, say
from hakaru.session import Session

SHORTEST_S: Final = 0.1
LONGEST_S: Final = 3600.0
_MISSHAPEN: Final = (AttributeError, IndexError, KeyError, TypeError, ValueError)
"""What a check raises that takes an answer apart which has, say, a text where a list belongs."""
NEEDS_KEY: Final[frozenset[str]] = frozenset({"auth.none", "auth.wrong"})


def conform(
    url: str,
    *,
    key: str | None = None,
    model: str | None = None,
    timeout_s: float = 30.0,
    only: Sequence[str] = (),
    session: Session | None = None,
) -> Conformance:
    """What a server with an OpenAI-style API answers rightly, and what it does wrong.

    Example: `conform("http://127.0.0.1:8600/v1").counts["fail"]`.

    `key` is sent as OpenAI's clients send it. `model` None is the first that the server lists.
    `timeout_s`: seconds that one question may take. `only` names the checks (`chat.stop`) or the
    areas (`chat`) that are asked; empty: all. Ctrl-C ends the run with what is known by then
    (`is_whole` is False). Raises Offline if nothing answers, Misuse if what answers is no such API
    or wants a key, EngineRefused if no endpoint answers, Interrupted for Ctrl-C before anything is
    known.
    """
    if not SHORTEST_S <= timeout_s <= LONGEST_S:
        raise Misuse(
            "`timeout_s` is {found:g}, expected {low:g} to {high:g} seconds.",
            found=timeout_s,
            low=SHORTEST_S,
            high=LONGEST_S,
        )
    if key is not None and not (key and key.isascii() and key.isprintable()):
        raise Misuse("`key` is empty or has letters that no header can carry; give another one.")
    checks = _chosen(only)
    run = _Run(url, Wire(key, timeout_s), model, checks, session or Session.here(keeps=False))
    try:
        with start_blocking_portal() as portal:  # in a thread, whose loop no signal breaks off
            portal.call(run.whole)
    except KeyboardInterrupt as stop:
        if run.peer is None:
            raise Interrupted(say("{url} was asked nothing yet.", url=url)) from stop
    return run.known()


def _chosen(only: Sequence[str]) -> tuple[Check, ...]:
    """The checks that are named, in their order; all of them if none is. Raises Misuse."""
    checks = every_check()
    known = {name for check in checks for name in (check.name, check.area)}
    for name in only:
        if name not in known:
            areas = dict.fromkeys(check.area for check in checks)
            raise Misuse(
                "`only` is '{found}', expected a check such as chat.stop, or one of {known}.",
                found=name,
                known=listed(areas),
            )
    return tuple(c for c in checks if not only or {c.name, c.area} & set(only))


class _Run:
    """One run over all checks, and what is known so far."""

    def __init__(
        self, url: str, wire: Wire, model: str | None, checks: Sequence[Check], session: Session
    ) -> None:
        self._url, self._wire, self._model, self._session = url, wire, model, session
        self._began = time.perf_counter()
        self._checks = checks
        self._results: list[Result] = []
        self._broken: set[str] = set()  # endpoints that answer no right question
        self._silent_since: str | None = None  # the check after which the server said nothing
        self.peer: Peer | None = None

    def known(self) -> Conformance:
        """What is known by now."""
        assert self.peer
        shown = self.peer.api.base
        return Conformance(
            url=shown,
            model=self.peer.model,
            models=self.peer.models,
            n_ctx=self.peer.n_ctx,
            results=tuple(self._results),
            n_checks=len(self._checks),
            seconds=time.perf_counter() - self._began,
        )

    async def whole(self) -> None:
        """Meet the server, and ask every check."""
        self._session.watch(say("steps (meeting the server)"), 0, 1)
        async with self._wire as wire:
            self.peer = await meet(wire, await find_api(self._url, wire), self._model)
            began = time.perf_counter()
            for done, check in enumerate(self._checks):
                self._session.watch(say("checks"), done, len(self._checks))
                wire.log.clear()
                outcome = await self._outcome(check, self.peer)
                self._keep(check, outcome, self.peer)
                pace = (time.perf_counter() - began) / (done + 1)
                self._session.foresee(0, pace * (len(self._checks) - done - 1))

    def _keep(self, check: Check, outcome: Outcome, peer: Peer) -> None:
        log = peer.wire.log
        if check.area != "form":  # which looks at the answers of all others
            peer.facts.setdefault("answers", []).extend(log)
        answered = all(exchange.reply and exchange.reply.is_ok for exchange in log)
        if check.name == f"{check.needs}.shape" and outcome.verdict == "fail" and not answered:
            self._broken.add(check.needs)
        self._results.append(
            Result(
                check=check,
                outcome=outcome,
                asked=tuple(exchange.asked() for exchange in log),
                came=tuple(exchange.came() for exchange in log),
            )
        )

    async def _outcome(self, check: Check, peer: Peer) -> Outcome:
        """What came of one check; never later than a few times the time of one question."""
        if self._silent_since is not None:
            return unknown(say("the server answered no more after {name}", name=self._silent_since))
        if reason := self._why_not(check, peer):
            return skipped(reason)
        try:
            return await check.ask(peer)
        except _MISSHAPEN:
            return failed(say("the answer has another shape than the published one"))
        except NoAnswer as error:
            outcome = self._unanswered(error, peer)
        if not await self._recovers(peer):
            self._silent_since = check.name
            return failed(
                say("{reason}; the server answers nothing since", reason=outcome.reason), "severe"
            )
        return outcome

    def _why_not(self, check: Check, peer: Peer) -> str:
        """Why the check is not asked; empty if it is."""
        if check.name in NEEDS_KEY and peer.wire.key is None:
            return say("no `key` was given")
        if check.needs in peer.lacks:
            path = ENDPOINTS[check.needs]
            return say("no {path} ({reason})", path=path, reason=peer.lacks[check.needs])
        if check.needs in self._broken and check.name != f"{check.needs}.shape":
            return say("{name} failed, on which this builds", name=f"{check.needs}.shape")
        return ""

    def _unanswered(self, error: NoAnswer, peer: Peer) -> Outcome:
        """The outcome of a check to which no whole answer came."""
        body = error.body if isinstance(error.body, dict) else {}
        if error.trouble == "slow":
            text = say("no whole answer within {n:g} s", n=peer.wire.within_s)
            return unknown(text) if peer.is_slow_for(body) else failed(text)
        if error.trouble == "too long":
            return failed(say("the answer did not end"))
        return failed(say("the connection broke off ({reason})", reason=error.detail))

    async def _recovers(self, peer: Peer) -> bool:
        """Whether the server answers again, soon."""
        return await peer.answers() or await peer.answers()
