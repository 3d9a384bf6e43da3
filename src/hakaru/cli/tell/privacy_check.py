"""What `hakaru privacy-check` tells: a line for each way out, and the sum."""

from collections.abc import Sequence

from hakaru.cli.output import print_text
from hakaru.language import say
from hakaru.serving.privacy.leaks import Finding, Verdict


def print_findings(findings: Sequence[Finding]) -> None:
    """Each way with its verdict and the evidence."""
    for finding in findings:
        evidence = finding.evidence
        print_text(f"{_word(finding.verdict)}  {_way(finding)}: {evidence}")
    leaks = sum(finding.verdict == "fail" for finding in findings)
    unsure = sum(finding.verdict == "unknown" for finding in findings)
    print_text(
        say(
            "{n} ways tried: {leaks} leak, of {unsure} nobody can tell.",
            n=len(findings),
            leaks=leaks,
            unsure=unsure,
        )
    )


def _word(verdict: Verdict) -> str:
    return {"pass": "PASS", "fail": "FAIL", "unknown": say("cannot tell")}[verdict]


def _way(finding: Finding) -> str:
    """What was tried."""
    if finding.of == "command":
        return say("hakaru {command}, without a network", command=finding.name)
    return {
        "isolation": say("the engine's isolation"),
        "interfaces": say("the engine: network interfaces"),
        "dns": say("the engine: the server of names (DNS)"),
        "tcp": say("the engine: TCP to this machine"),
        "tcp6": say("the engine: TCP to this machine, IPv6"),
        "outside": say("the engine: TCP to the outside"),
        "outside6": say("the engine: TCP to the outside, IPv6"),
        "udp": say("the engine: UDP to this machine"),
        "udp6": say("the engine: UDP to this machine, IPv6"),
        "abstract": say("the engine: an abstract Unix socket"),
        "socket": say("the engine: a Unix socket in a folder"),
        "files": say("the engine: your files"),
        "model": say("the engine: changing the model"),
        "write": say("the engine: writing a file"),
        "processes": say("the engine: other processes"),
        "ptrace": say("the engine: the memory of other processes"),
        "environment": say("the engine: variables of your environment"),
        "privileges": say("the engine: privileges"),
    }[finding.name]
