"""`hakaru privacy-check`: whether anything leaks here, with evidence."""

from dataclasses import dataclass

from hakaru.cli.output import print_json
from hakaru.cli.progress import Watching
from hakaru.cli.tell.privacy_check import print_findings
from hakaru.cli.terminal import terminal_session
from hakaru.serving.privacy.check import privacy_check
from hakaru.serving.privacy.leaks import as_json


@dataclass(frozen=True, kw_only=True)
class PrivacyCheckOptions:
    """`hakaru privacy-check`."""

    json: bool


def run(options: PrivacyCheckOptions) -> int:
    """Try, and tell. Returns 1 if anything leaked."""
    with Watching(quiet=options.json) as watch:
        session = terminal_session(watching=watch, quiet=options.json, keeps=False)
        findings = privacy_check(session)
    if options.json:
        print_json(as_json(findings))
    else:
        print_findings(findings)
    return int(any(finding.verdict == "fail" for finding in findings))
