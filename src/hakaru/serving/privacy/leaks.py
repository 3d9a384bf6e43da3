"""What the check found: a verdict for each way out, with its evidence."""

from collections.abc import Sequence
from typing import Any, Final, Literal

from msgspec import Struct
from msgspec.structs import asdict

Verdict = Literal["pass", "fail", "unknown"]
SCHEMA: Final = "hakaru.privacy/1"


class Finding(Struct, frozen=True, kw_only=True):
    """One way out."""

    of: Literal["engine", "command"]
    name: str  # as the program of probes, or the command line, calls it
    verdict: Verdict
    evidence: str  # what stopped it, what it reached, or why nobody can tell


def as_json(findings: Sequence[Finding]) -> dict[str, Any]:
    """The object of `--json`."""
    return {"schema": SCHEMA, "findings": [asdict(finding) for finding in findings]}
