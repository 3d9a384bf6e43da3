"""What a check is, what came of it, and what is known of a server in the end. Pure."""

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, Literal

from msgspec import Struct

if TYPE_CHECKING:
    from hakaru.conformance.peer import Peer

Verdict = Literal["pass", "fail", "unknown", "skipped"]
VERDICTS: Final[tuple[Verdict, ...]] = ("pass", "fail", "unknown", "skipped")
Severity = Literal["severe", "moderate", "minor"]
"""severe: a client gets a wrong result and is told nothing, a key protects nothing, or the server
answers no more. moderate: a client fails, hangs or asks in vain again. minor: most clients can live
with it.
"""


class Outcome(Struct, frozen=True, kw_only=True):
    """What came of a check."""

    verdict: Verdict
    reason: str = ""  # a sentence for a person; of a pass a remark, or nothing
    severity: Severity | None = None  # None: that of the check
    is_loud: bool = False  # a failure of which the client hears: at most moderate


def passed(remark: str = "") -> Outcome:
    """The server did what was expected."""
    return Outcome(verdict="pass", reason=remark)


def failed(reason: str, severity: Severity | None = None, *, is_loud: bool = False) -> Outcome:
    """The server did something else."""
    return Outcome(verdict="fail", reason=reason, severity=severity, is_loud=is_loud)


def unknown(reason: str) -> Outcome:
    """Neither was shown."""
    return Outcome(verdict="unknown", reason=reason)


def skipped(reason: str) -> Outcome:
    """Nothing was asked, or the server offers no such thing and says so."""
    return Outcome(verdict="skipped", reason=reason)


class Check(Struct, frozen=True):
    """One thing that a server should do."""

    name: str  # area and thing: `chat.stop`
    severity: Severity
    expected: str  # a sentence, in the language in use
    ask: "Callable[[Peer], Awaitable[Outcome]]"
    needs: str = ""  # the endpoint without which it is skipped

    @property
    def area(self) -> str:
        """The first part of the name."""
        return self.name.partition(".")[0]


class Result(Struct, frozen=True, kw_only=True):
    """A check and what came of it."""

    check: Check
    outcome: Outcome
    asked: tuple[Mapping[str, Any], ...] = ()  # requests: method, path, body
    came: tuple[Mapping[str, Any], ...] = ()  # answers: status, content_type, body, seconds

    @property
    def severity(self) -> Severity:
        """How bad it is that the check failed."""
        severity = self.outcome.severity or self.check.severity
        return "moderate" if severity == "severe" and self.outcome.is_loud else severity

    def as_json(self) -> dict[str, Any]:
        """The result as `--json` prints it."""
        return {
            "name": self.check.name,
            "area": self.check.area,
            "verdict": self.outcome.verdict,
            "severity": self.severity,
            "expected": self.check.expected,
            "reason": self.outcome.reason or None,
            "asked": list(self.asked),
            "came": list(self.came),
        }


class Conformance(Struct, frozen=True, kw_only=True):
    """What is known of a server."""

    url: str  # the base URL for OpenAI clients
    model: str  # that was asked
    models: tuple[str, ...]  # that the server lists
    n_ctx: int | None  # tokens of context that the server told; None: it told none
    results: tuple[Result, ...]
    n_checks: int  # all that there are; fewer results: the run was ended before
    seconds: float

    @property
    def is_whole(self) -> bool:
        """Whether every check was asked."""
        return len(self.results) == self.n_checks

    @property
    def counts(self) -> dict[Verdict, int]:
        """How many results have each verdict."""
        times = Counter(result.outcome.verdict for result in self.results)
        return {verdict: times[verdict] for verdict in VERDICTS}

    def of(self, verdict: Verdict) -> list[Result]:
        """The results with this verdict, in the order of the checks."""
        return [result for result in self.results if result.outcome.verdict == verdict]

    def as_json(self) -> dict[str, Any]:
        """One object of schema `hakaru.conformance/1`."""
        return {
            "schema": "hakaru.conformance/1",
            "url": self.url,
            "model": self.model,
            "models": list(self.models),
            "n_ctx": self.n_ctx,
            "complete": self.is_whole,
            "seconds": round(self.seconds, 3),
            "counts": self.counts,
            "checks": [result.as_json() for result in self.results],
        }
